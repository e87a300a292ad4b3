// Each line is handled by a child over its IPC channel, late.
const { fork } = require('child_process');

if (process.argv[2] === 'child') {
  process.on('message', (line) => setTimeout(() => process.send(line), 250));
} else {
  const child = fork(__filename, ['child']);
  child.on('message', (line) => process.stdout.write(line));
  process.stdin.on('data', (data) => child.send(String(data)));
}
