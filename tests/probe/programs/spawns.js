// Each line is handled by a helper whose STDIN and STDOUT are pairs of sockets, as Node makes them.
const { spawn } = require('child_process');

const helper = spawn('sh', ['-c', 'while read -r line; do sleep 0.25; echo $line; done'], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
helper.stdout.on('data', (data) => process.stdout.write(data));
process.stdin.on('data', (data) => helper.stdin.write(data));
