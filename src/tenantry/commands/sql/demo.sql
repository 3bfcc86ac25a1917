-- name: old_role
CREATE ROLE old_application LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO old_application;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO old_application
