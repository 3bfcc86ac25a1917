// Whose a request is, and the transaction that is served as that tenant. What a key looks like, and the function that
// looks one up, are in docs/contract.md.

import { createHash, timingSafeEqual } from "node:crypto";
import { crc32 } from "node:zlib";

const FORM = /^tk_([0-9A-Za-z]{8})_[0-9A-Za-z]{40}([0-9A-Za-z]{6})$/;
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const NEVER = Buffer.alloc(32);
// SQLSTATEs, and errors of the network, that say that the database is away.
const AWAY = /^(08|57P0[123]|53300|ECONN|EPIPE|ENOENT|ETIMEDOUT)/;

export class Problem extends Error {
  constructor(status, kind, detail, headers = {}) {
    super(detail);
    Object.assign(this, { status, kind, headers });
  }

  get document() {
    return { type: `urn:tenantry:problem:${this.kind}`, title: this.kind, status: this.status, detail: this.message };
  }
}

function checksum(text) {
  let number = crc32(text);
  let digits = "";
  for (let i = 0; i < 6; i++) {
    digits = DIGITS[number % 62] + digits;
    number = Math.floor(number / 62);
  }
  return digits;
}

// The only value of a header. Node joins some headers that come twice, and drops others: rawHeaders has them all.
function one(request, name) {
  const values = request.rawHeaders.filter((_, at) => at % 2 === 1 && request.rawHeaders[at - 1].toLowerCase() === name);
  if (values.length === 0) return null;
  if (values.length > 1 || values[0].includes(",")) {
    throw new Problem(400, "two-values", `The header ${name} has more than one value.`);
  }
  return values[0].trim();
}

function presentedKey(request) {
  const bearer = one(request, "authorization")?.match(/^Bearer (\S+)$/i)?.[1] ?? null;
  const key = one(request, "x-api-key");
  if (bearer !== null && key !== null) throw new Problem(400, "two-values", "Two keys are given.");
  return key ?? bearer;
}

// The organization of the request's key. X-Org-Id may name it as well, and has to agree.
export async function resolve(pool, request) {
  const challenge = { "www-authenticate": 'Bearer realm="tenants"' };
  const key = presentedKey(request);
  if (key === null) throw new Problem(401, "no-credential", "The request has no credential.", challenge);
  const invalid = new Problem(401, "invalid-key", "The API key is not valid.", challenge);
  const form = FORM.exec(key);
  if (form === null || checksum(key.slice(0, -6)) !== form[2]) throw invalid;
  const presented = createHash("sha256").update(key).digest();
  const { rows } = await pool.query("SELECT hash, tenant, scopes, ends_at FROM tenantry.api_key($1, $2)", [form[1], presented]);
  const stored = rows[0];
  const same = timingSafeEqual(stored?.hash ?? NEVER, presented);
  if (!same || (stored.ends_at !== null && stored.ends_at <= new Date())) throw invalid;
  const write = !["GET", "HEAD", "OPTIONS"].includes(request.method);
  if (!stored.scopes.includes(write ? "write" : "read")) {
    throw new Problem(403, "insufficient-scope", "The key's scopes do not suffice.");
  }
  const tenant = { key: stored.tenant, readOnly: !stored.scopes.includes("write") };
  const found = await withTenant(pool, tenant, (client) => client.query("SELECT id, slug, status FROM organizations"));
  const organization = found.rows[0];
  if (organization === undefined) throw new Problem(404, "unknown-tenant", "There is no such organization.");
  const named = one(request, "x-org-id");
  if (named !== null && ![organization.id, organization.slug].includes(named)) {
    throw new Problem(403, "tenants-disagree", "The key and the header x-org-id do not say the same tenant.");
  }
  if (organization.status !== "active") throw new Problem(403, "inactive-tenant", "The organization is not active.");
  return tenant;
}

// A transaction of pg that is the tenant's. The setting ends with it, so that nothing is left on the connection.
export async function withTenant(pool, tenant, work) {
  const client = await pool.connect();
  let broken;
  try {
    await client.query(tenant.readOnly ? "BEGIN READ ONLY" : "BEGIN");
    await client.query("SELECT set_config('app.tenant_id', $1, true)", [tenant.key]);
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch((worse) => (broken = worse));
    throw error;
  } finally {
    client.release(broken);
  }
}

// The same by Prisma: all that `work` does with the client that it gets is in one transaction, behind the setting.
export function withTenantOfPrisma(prisma, tenant, work) {
  return prisma.$transaction(async (client) => {
    await client.$queryRaw`SELECT set_config('app.tenant_id', ${tenant.key}, true)`;
    return work(client);
  });
}

export function isAway(error) {
  return AWAY.test(error?.code ?? "") || /connection (terminated|timeout)/i.test(error?.message ?? "");
}
