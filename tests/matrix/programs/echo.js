// readline's 'line' event with synchronous writes; each line handled is noted in the log of $SIDE.
const fs = require('fs');
const side = fs.openSync(process.env.SIDE, 'a');

// STDOUT's pipe may be full: an event loop's descriptors do not block.
function write(fd, text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(fd, bytes, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  write(1, line + '\n');
  write(side, line + '\n');
});
