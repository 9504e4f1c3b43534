// For `node --import`: makes "orkestr" importable from anywhere, as NODE_PATH does for require(). Used by ./dev node only.
import { register } from "node:module";

const target = new URL("../index.mjs", import.meta.url).href;
const hook = `export const resolve = (name, context, next) =>
  name === "orkestr" && context.conditions.includes("import") ? { url: ${JSON.stringify(target)}, shortCircuit: true } : next(name, context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
