// Prints what AsyncAPI's own schema says against a document, and the document as JSON: node asyncapi.mjs FILE
import { readFile } from "node:fs/promises";
import specs from "@asyncapi/specs";
import Ajv from "ajv";
import formats from "ajv-formats";
import { parse } from "yaml";

const document = parse(await readFile(process.argv[2], "utf8"), { strict: true, uniqueKeys: true });
const ajv = formats(new Ajv({ strict: false, allErrors: true }));
const validate = ajv.compile(specs.schemasWithoutId["3.0.0"]);
validate(document);
const complaints = (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
console.log(JSON.stringify({ complaints, document }));
