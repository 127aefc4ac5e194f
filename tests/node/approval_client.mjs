// A client of the TypeScript SDK that asks for what a person has to agree to: `node approval_client.mjs KIND http URL`,
// or `... KIND stdio COMMAND [ARGUMENT...]`. KIND is `session`, or `pages` for a client that opens pages.
// Each line on its standard input is the text for a call of `test_echo`, which may take 7 s without any sign of life.
// What happens is printed as lines of JSON, as tests/peers/approval_client.py does.
import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CallToolResultSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const [kind, transport, target, ...rest] = process.argv.slice(2);
const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const capabilities = kind === "pages" ? { elicitation: { url: {} } } : {};
const client = new Client({ name: "typescript", version: "1" }, { capabilities });
if (kind === "pages") {
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    tell({ page: params.url });
    return { action: "accept" };
  });
}
await client.connect(
  transport === "stdio"
    ? new StdioClientTransport({ command: target, args: rest })
    : new StreamableHTTPClientTransport(new URL(target)),
);
tell({ ready: true });
for await (const text of createInterface({ input: process.stdin })) {
  const options = { timeout: 7000, resetTimeoutOnProgress: true, onprogress: ({ message }) => tell({ progress: message }) };
  try {
    const result = await client.callTool({ name: "test_echo", arguments: { text } }, CallToolResultSchema, options);
    tell({ result: result.content[0].text });
  } catch (error) {
    tell({ code: error.code, data: error.data ?? null });
  }
}
await client.close();
