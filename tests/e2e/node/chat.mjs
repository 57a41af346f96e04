// Asks each prompt of standard input (a JSON array) plain and streamed through the OpenAI SDK; one JSON line an answer.
//
//   node chat.mjs BASE_URL MODEL          THINKGATE_NODE_SDK: the folder whose node_modules has the SDK
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.THINKGATE_NODE_SDK, "package.json"));
const { default: OpenAI } = require("openai");

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });

for (const prompt of JSON.parse(readFileSync(0, "utf8"))) {
  const request = { model, messages: [{ role: "user", content: prompt }], max_tokens: 1024, temperature: 0 };

  const plain = await client.chat.completions.create(request).withResponse();
  report(plain.response, [plain.data.choices[0].message]);

  const streamed = await client.chat.completions.create({ ...request, stream: true }).withResponse();
  const deltas = [];
  for await (const chunk of streamed.data) {
    deltas.push(...chunk.choices.map((choice) => choice.delta));
  }
  report(streamed.response, deltas);
}

function report(response, parts) {
  const text = (field) => parts.map((part) => part[field] ?? "").join("");
  console.log(
    JSON.stringify({
      mode: response.headers.get("x-thinkgate-mode"),
      why: response.headers.get("x-thinkgate-why"),
      reasoning: text("reasoning"),
      content: text("content"),
    }),
  );
}
