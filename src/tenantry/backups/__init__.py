"""Backups: copies in schema tenantry or dumps, made from one snapshot; verified, restored, monitored."""
