// Microsoft's own SignalR client at a hub: prints what it lived through as one JSON object.
//
//   node judge.mjs URL negotiate|skip EVENTS
//
// The key comes in the environment (HUB_KEY). Exits 0 once EVENTS pushes have arrived and all answers are in;
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
  console.error("the judge ran out of patience");
  process.exit(1);
}, 20_000);

const life = { events: [], answers: {}, refusals: {}, closed: null };
let enough;
const all = new Promise((resolve) => (enough = resolve));
connection.on("executionEvents", (envelope) => {
  life.events.push(envelope);
  if (life.events.filter((one) => one.clientId === "").length >= Number(wanted)) enough();
});
connection.onclose((error) => (life.closed = error ? error.message : "clean"));

const refusal = async (method, ...values) => {
  try {
    await connection.invoke(method, ...values);
    return null;
  } catch (error) {
    return error.message;
  }
};

await connection.start();
life.answers.GetBalances = await connection.invoke("GetBalances", "ask-balances");
life.answers.GetPairs = await connection.invoke("GetPairs", "ask-pairs");
life.refusals.unknown = await refusal("Nope", "x");
life.refusals.nested = await refusal("GetBalances", ["x"]);
life.refusals.order = await refusal("PlaceOtcOrder", "x", "price", "buy", 1);
await all;
await connection.stop();
clearTimeout(deadline);
console.log(JSON.stringify(life));
