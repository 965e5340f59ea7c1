// Microsoft's own SignalR client at a hub: prints what it received as one JSON object.
//
//   node judge.mjs URL negotiate|skip EVENTS
//
// The key comes in the environment (HUB_KEY). Exits 0 once EVENTS pushes and all answers have arrived;
// exits 1 with the reason on stderr otherwise.
import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

const [url, how, wanted] = process.argv.slice(2);
const options = { accessTokenFactory: () => process.env.HUB_KEY, transport: HttpTransportType.WebSockets };
if (how === "skip") options.skipNegotiation = true;

const connection = new HubConnectionBuilder()
  .withUrl(url, options)
  .configureLogging(LogLevel.None)
  .build();

const deadline = setTimeout(() => {
  console.error("not done within 20 s");
  process.exit(1);
}, 20_000);

const report = { events: [], answers: {}, refusals: {}, closed: null };
let enoughReceived;
const all = new Promise((resolve) => (enoughReceived = resolve));
connection.on("executionEvents", (envelope) => {
  report.events.push(envelope);
  if (report.events.filter((one) => one.clientId === "").length >= Number(wanted)) enoughReceived();
});
connection.onclose((error) => (report.closed = error ? error.message : "clean"));

const refusal = async (method, ...values) => {
  try {
    await connection.invoke(method, ...values);
    return null;
  } catch (error) {
    return error.message;
  }
};

await connection.start();
report.answers.GetBalances = await connection.invoke("GetBalances", "balances-1");
report.answers.GetPairs = await connection.invoke("GetPairs", "pairs-1");
report.refusals.unknown = await refusal("Nope", "x");
report.refusals.nested = await refusal("GetBalances", ["x"]);
await all;
await connection.stop();
clearTimeout(deadline);
console.log(JSON.stringify(report));
