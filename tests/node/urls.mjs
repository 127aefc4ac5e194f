// Reads a JSON list of texts; writes what `new URL` makes of each: protocol, host and port, or null where it throws.
import { readFileSync } from "node:fs";

function read(text) {
  try {
    const { protocol, hostname, port } = new URL(text);
    return [protocol, hostname, port];
  } catch {
    return null;
  }
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(read)));
