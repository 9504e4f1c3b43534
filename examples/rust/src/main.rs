// Runs untrusted code in a throwaway Linux computer of its own, from Rust, through the C interface. `cargo run`
//
// expect: 499999500000
use orkestr::{Client, Error};

fn run() -> Result<(), Error> {
    let client = Client::open()?;
    let sandbox = client.create("python-3.12-bare")?;
    let outcome = sandbox.exec("python3 -c 'print(sum(range(1_000_000)))'");
    sandbox.terminate()?;
    let result = outcome?;
    print!("stdout     {}", String::from_utf8_lossy(&result.stdout));
    println!("exit_code  {}", result.exit_code);
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
