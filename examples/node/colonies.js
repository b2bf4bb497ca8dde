// The Colonies protocol: signed messages. For test keys only: this arithmetic is not constant-time.
import { createHash, createHmac } from "node:crypto";

const P = 2n ** 256n - 2n ** 32n - 977n;
const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const G = [
  0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
];

const sha3 = (data) => createHash("sha3-256").update(data).digest();
const hex = (number) => number.toString(16).padStart(64, "0");
const number = (bytes) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
const mod = (value, by) => ((value % by) + by) % by;

function inverse(value, by) {
  let [a, b, x, y] = [mod(value, by), by, 1n, 0n];
  while (a > 1n) [a, b, x, y] = [b % a, a, y - (b / a) * x, x];
  return mod(x, by);
}

function add(p, q) {
  if (!p || !q) return p ?? q;
  if (p[0] === q[0] && p[1] !== q[1]) return null;
  const slope = p[0] === q[0] ? 3n * p[0] * p[0] * inverse(2n * p[1], P) : (q[1] - p[1]) * inverse(q[0] - p[0], P);
  const x = mod(slope * slope - p[0] - q[0], P);
  return [x, mod(slope * (p[0] - x) - p[1], P)];
}

function times(scalar, point) {
  let sum = null;
  for (; scalar > 0n; scalar >>= 1n, point = add(point, point)) if (scalar & 1n) sum = add(sum, point);
  return sum;
}

/** The id of a private key: the hash of the public key in hex. */
export function idOf(privateKey) {
  const [x, y] = times(BigInt(`0x${privateKey}`), G);
  return sha3(`04${hex(x)}${hex(y)}`).toString("hex");
}

/** r, s and the number of the key, in 130 hex digits. */
export function sign(payload, privateKey) {
  const key = BigInt(`0x${privateKey}`);
  const digest = sha3(payload);
  for (let attempt = 0; ; attempt++) {
    const k = mod(number(createHmac("sha256", privateKey).update(digest).update(`${attempt}`).digest()), N);
    if (k === 0n) continue;
    const [x, y] = times(k, G);
    let s = mod(inverse(k, N) * (number(digest) + x * key), N);
    if (x >= N || s === 0n) continue;
    let odd = y & 1n;
    if (s > N / 2n) [s, odd] = [N - s, 1n - odd];
    return `${hex(x)}${hex(s)}0${odd}`;
  }
}

export class Refused extends Error {}

/** A client of the server at `url`, with one private key. */
export class Client {
  constructor(url, privateKey) {
    Object.assign(this, { url, privateKey });
  }

  /** The reply to a message; throws Refused if the server says no. */
  async ask(msgtype, fields = {}) {
    const payload = Buffer.from(JSON.stringify({ msgtype, ...fields })).toString("base64");
    const body = JSON.stringify({ payloadtype: msgtype, payload, signature: sign(payload, this.privateKey) });
    const reply = await fetch(`${this.url}/api`, { method: "POST", body });
    const answer = JSON.parse(Buffer.from((await reply.json()).payload, "base64").toString());
    if (!reply.ok) throw new Refused(answer.message);
    return answer;
  }
}
