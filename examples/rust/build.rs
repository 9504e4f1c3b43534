// Where the library is, from pkg-config: an installed prefix in PKG_CONFIG_PATH is enough.
use std::process::Command;

fn main() {
    let out = Command::new("pkg-config").args(["--libs-only-L", "--libs-only-l", "orkestr"]).output();
    let out = out.expect("pkg-config cannot be started; install it");
    assert!(out.status.success(), "pkg-config: {}", String::from_utf8_lossy(&out.stderr));
    for flag in String::from_utf8_lossy(&out.stdout).split_whitespace() {
        if let Some(dir) = flag.strip_prefix("-L") {
            println!("cargo:rustc-link-search=native={dir}");
            println!("cargo:rustc-link-arg=-Wl,-rpath,{dir}");
        } else if let Some(name) = flag.strip_prefix("-l") {
            println!("cargo:rustc-link-lib={name}");
        }
    }
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
}
