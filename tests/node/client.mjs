// A client of the TypeScript SDK: `node client.mjs http URL`, `sse URL` or `stdio COMMAND [ARGUMENT...]`.
// It lists the tools, calls two of them, and prints what came as one line of JSON.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [kind, target, ...rest] = process.argv.slice(2);
const transports = {
  http: () => new StreamableHTTPClientTransport(new URL(target)),
  sse: () => new SSEClientTransport(new URL(target)),
  stdio: () => new StdioClientTransport({ command: target, args: rest }),
};

const client = new Client({ name: "typescript", version: "1" });
await client.connect(transports[kind]());
const { tools } = await client.listTools();
const allowed = await client.callTool({ name: "test_echo", arguments: { text: "Grüezi" } });
const denied = await client.callTool({ name: "test_simple_text", arguments: {} });
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), allowed, denied }));
await client.close();
