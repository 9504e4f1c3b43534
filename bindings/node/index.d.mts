export * from "./index.js";
import * as orkestr from "./index.js";
export default orkestr;
