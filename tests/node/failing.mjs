// `node failing.mjs FILE`: a low-level server of the TypeScript SDK 1.x whose tool fails after it did its work.
// The tool `pay` adds a line to FILE, and then throws what its argument `raises` names.

import { appendFileSync } from "node:fs";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { CallToolRequestSchema, ErrorCode, ListToolsRequestSchema, McpError } from "@modelcontextprotocol/sdk/types.js";

const server = new Server({ name: "failing", version: "1" }, { capabilities: { tools: {} } });
server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: [{ name: "pay", inputSchema: { type: "object" } }] }));
server.setRequestHandler(CallToolRequestSchema, ({ params }) => {
  appendFileSync(process.argv[2], "paid\n");
  if (params.arguments?.raises === "invalid params") throw new McpError(ErrorCode.InvalidParams, "the output does not fit");
  throw new Error("the connection broke after the order was placed");
});
await server.connect(new StdioServerTransport());
