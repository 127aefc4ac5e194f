// Preloaded into servers that would listen on every interface: they listen on 127.0.0.1, and say where.
import net from "node:net";

const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (port, ...rest) {
  this.once("listening", () => {
    const path = process.argv.includes("sse") ? "/sse" : "/mcp";
    console.error(`listening on http://127.0.0.1:${this.address().port}${path}`);
  });
  const callbacks = rest.filter((one) => typeof one === "function");
  return listen.call(this, { port: Number(port), host: "127.0.0.1" }, ...callbacks);
};
