// The items of an organization, by pg and by Prisma, from the database of examples/enterprise.
//
//     npm install && npm run generate && PORT=3000 npm start        (and PGHOST, PGDATABASE, PGUSER, …)

import { createServer } from "node:http";
import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "@prisma/client";
import pg from "pg";
import { Problem, isAway, resolve, withTenant, withTenantOfPrisma } from "./tenants.js";

const options = { max: 4, connectionTimeoutMillis: 3000 };
const pool = new pg.Pool(options);
pool.on("error", () => {}); // An idle connection was lost: the pool has dropped it.
const prisma = new PrismaClient({ adapter: new PrismaPg(options) });

const ITEMS = "SELECT id::text, code, name, category, unit FROM items ORDER BY code, id LIMIT $1";

const routes = {
  "/api/items-enterprise": async (tenant, limit) =>
    (await withTenant(pool, tenant, (client) => client.query(ITEMS, [limit]))).rows,
  "/api/items-prisma": (tenant, limit) =>
    withTenantOfPrisma(prisma, tenant, (client) =>
      client.items.findMany({ orderBy: [{ code: "asc" }, { id: "asc" }], take: limit }),
    ),
};

async function answer(request) {
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
  if (pathname === "/health/live") return { status: "live" };
  const route = routes[pathname];
  if (!Object.hasOwn(routes, pathname)) throw new Problem(404, "not-found", "There is no such page.");
  if (request.method !== "GET") throw new Problem(405, "method-not-allowed", "Only GET is served here.", { allow: "GET" });
  const limit = Number(searchParams.get("limit") ?? 50);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) throw new Problem(422, "bad-input", "limit is from 1 to 100.");
  return { items: await route(await resolve(pool, request), limit) };
}

function explained(error) {
  if (error instanceof Problem) return error;
  if (isAway(error)) return new Problem(503, "database-unavailable", "The database cannot be reached.", { "retry-after": "2" });
  console.error(error);
  return new Problem(500, "error", "Something went wrong.");
}

const server = createServer(async (request, response) => {
  let status = 200;
  let headers = { "content-type": "application/json" };
  let body;
  try {
    body = await answer(request);
  } catch (error) {
    const problem = explained(error);
    ({ status, document: body } = problem);
    headers = { "content-type": "application/problem+json", ...problem.headers };
  }
  // Prisma's BigInt is a text in JSON, as pg's is.
  response.writeHead(status, headers).end(JSON.stringify(body, (_, value) => (typeof value === "bigint" ? String(value) : value)));
});
server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => console.log(`running on http://127.0.0.1:${server.address().port}`));
