// Each line is handled by a child over its IPC channel, in order; each line handled is noted in the log of $SIDE.
const fs = require('fs');

if (process.argv[2] === 'child') {
  process.on('message', (line) => setTimeout(() => process.send(line), Math.random() * 4));
} else {
  const side = fs.openSync(process.env.SIDE, 'a');
  const child = require('child_process').fork(__filename, ['child']);
  const waiting = [];
  let busy = false;
  let over = false;

  function next() {
    if (busy) return;
    if (waiting.length === 0) {
      if (over) process.exit();
      return;
    }
    busy = true;
    child.send(waiting.shift());
  }

  child.on('message', (line) => {
    process.stdout.write(line + '\n', () => {
      fs.writeSync(side, line + '\n');
      busy = false;
      next();
    });
  });
  require('readline')
    .createInterface({ input: process.stdin })
    .on('line', (line) => {
      waiting.push(line);
      next();
    })
    .on('close', () => {
      over = true;
      next();
    });
}
