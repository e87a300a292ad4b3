// A request for each line, all of them at once, answered in order; each line handled is noted in the log of $SIDE.
const fs = require('fs');
const http = require('http');
const side = fs.openSync(process.env.SIDE, 'a');
const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
const [host, port] = process.env.SERVER.split(':');

function ask() {
  return new Promise((resolve, reject) => {
    http.get({ host, port, agent, path: '/' }, (answer) => answer.resume().on('end', resolve)).on('error', reject);
  });
}

let last = Promise.resolve();
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const answered = ask();
  last = last.then(() => answered).then(() => new Promise((resolve) => process.stdout.write(line + '\n', () => {
    fs.writeSync(side, line + '\n');
    resolve();
  })));
});
