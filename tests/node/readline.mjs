// A server written as many are: Node's readline cuts its input into lines. Every call that it sees runs, and is logged.
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";

const log = process.argv[2];
createInterface({ input: process.stdin }).on("line", (line) => {
  let message;
  try {
    message = JSON.parse(line);
  } catch {
    return;
  }
  if (message.method === "tools/call") appendFileSync(log, JSON.stringify(message.params) + "\n");
  if ("id" in message) process.stdout.write(JSON.stringify({ jsonrpc: "2.0", id: message.id, result: { content: [] } }) + "\n");
});
