// lines() of a locked STDIN; each line handled is noted in the log of $SIDE.
use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};

fn main() {
    let path = std::env::var("SIDE").unwrap();
    let mut side = OpenOptions::new().append(true).create(true).open(path).unwrap();
    let stdin = io::stdin();
    let mut out = io::stdout();
    for line in stdin.lock().lines() {
        let line = line.unwrap() + "\n";
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
        side.write_all(line.as_bytes()).unwrap();
    }
}
