// Shows a command's output as it comes, from Rust. `cargo run --bin stream_output`
//
// expect: line 3
// expect: a word of warning
// expect: exit code 7
use orkestr::{Client, Error, Piece, Sandbox};
use std::io::Write;

const COMMAND: &str = "for i in 1 2 3; do echo line $i; sleep 0.2; done; echo a word of warning >&2; exit 7";

fn show(sandbox: &Sandbox) -> Result<(), Error> {
    for piece in sandbox.exec_stream(COMMAND)? {
        // (That nobody reads what we print is no reason to stop before the sandbox has ended.)
        let _ = match piece? {
            Piece::Stdout(data) => std::io::stdout().write_all(&data),
            Piece::Stderr(data) => std::io::stderr().write_all(&data),
            Piece::Exit(code) => writeln!(std::io::stdout(), "exit code {code}"),
        };
    }
    Ok(())
}

fn run() -> Result<(), Error> {
    let client = Client::open()?;
    let sandbox = client.create("python-3.12-bare")?;
    let shown = show(&sandbox);
    sandbox.terminate()?;
    shown
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
