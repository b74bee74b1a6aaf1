// Reads a JSON array of SOQL texts on stdin; writes a JSON array of booleans: does the parser accept each?
import { isQueryValid } from '@jetstreamapp/soql-parser-js';

let input = '';
for await (const chunk of process.stdin) {
  input += chunk;
}
const verdicts = JSON.parse(input).map((text) => {
  try {
    return isQueryValid(text);
  } catch {
    return false;
  }
});
process.stdout.write(JSON.stringify(verdicts));
