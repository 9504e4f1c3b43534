// Runs untrusted code in a throwaway Linux computer of its own, from Rust, through the C interface. `cargo run`
//
// expect: 499999500000
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::os::raw::{c_char, c_int};
use std::ptr::{null, null_mut};

mod ffi {
    use std::os::raw::{c_char, c_double, c_int, c_void};

    // Opaque: only pointers to it exist.
    #[repr(C)]
    pub struct Opaque {
        _private: [u8; 0],
    }
    pub type Handle = *mut Opaque;

    #[repr(C)]
    pub struct CreateOptions {
        pub size: usize,
        pub template_name: *const c_char,
        pub snapshot: *const c_char,
        pub machine_size: *const c_char,
        pub cpu: c_double,
        pub memory_mb: c_int,
        pub disk_mb: c_int,
        pub network: *const c_char,
        pub timeout_ms: i64,
        pub on_timeout: *const c_char,
        pub auto_resume: c_int,
        pub paused_ttl_ms: i64,
        pub preview_auth: c_int,
        pub env: *const c_void,
        pub env_count: usize,
        pub metadata: *const c_void,
        pub metadata_count: usize,
        pub region: *const c_char,
        pub allow_domains: *const c_void,
        pub allow_domains_count: usize,
        pub volume: *const c_char,
        pub max_retries: c_int,
        pub retry_max_ms: i64,
        pub no_auto_build: c_int,
        pub on_progress: *const c_void,
        pub progress_user: *mut c_void,
    }

    extern "C" {
        pub fn orkestr_client_open(options: *const c_void, client: *mut Handle, error: *mut Handle) -> c_int;
        pub fn orkestr_client_free(client: Handle);
        pub fn orkestr_sandbox_create(client: Handle, options: *const CreateOptions) -> Handle;
        pub fn orkestr_sandbox_exec(sandbox: Handle, command: *const c_char, options: *const c_void) -> Handle;
        pub fn orkestr_sandbox_terminate(sandbox: Handle) -> Handle;
        pub fn orkestr_sandbox_free(sandbox: Handle);
        pub fn orkestr_await(operation: Handle, timeout_ms: i64, value: *mut Handle, error: *mut Handle) -> c_int;
        pub fn orkestr_await_sandbox(operation: Handle, timeout_ms: i64, out: *mut Handle, error: *mut Handle) -> c_int;
        pub fn orkestr_value_bytes(value: Handle, field: *const c_char, length: *mut usize) -> *const c_char;
        pub fn orkestr_value_integer(value: Handle, field: *const c_char) -> i64;
        pub fn orkestr_value_free(value: Handle);
        pub fn orkestr_error_message(error: Handle) -> *const c_char;
        pub fn orkestr_error_free(error: Handle);
        pub fn orkestr_status_name(status: c_int) -> *const c_char;
    }
}

// A handle and the function that frees it.
struct Owned(ffi::Handle, unsafe extern "C" fn(ffi::Handle));
impl Drop for Owned {
    fn drop(&mut self) {
        unsafe { (self.1)(self.0) }
    }
}

fn text(pointer: *const c_char) -> String {
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

// Calls `work` with a place for the handle and one for the error.
fn checked(free: unsafe extern "C" fn(ffi::Handle), work: impl FnOnce(*mut ffi::Handle, *mut ffi::Handle) -> c_int) -> Result<Owned, String> {
    let (mut out, mut error) = (null_mut(), null_mut());
    match work(&mut out, &mut error) {
        0 => Ok(Owned(out, free)),
        status => {
            let error = Owned(error, ffi::orkestr_error_free);
            Err(unsafe { format!("{}: {}", text(ffi::orkestr_status_name(status)), text(ffi::orkestr_error_message(error.0))) })
        }
    }
}

struct Client(Owned);

// Freeing it ends nothing; terminate() does. The lifetime keeps programs tidy, the library does not need it.
struct Sandbox<'a>(Owned, PhantomData<&'a Client>);

const FOREVER: i64 = -1;

impl Client {
    fn open() -> Result<Client, String> {
        checked(ffi::orkestr_client_free, |out, error| unsafe { ffi::orkestr_client_open(null(), out, error) }).map(Client)
    }

    fn create(&self, template: &str) -> Result<Sandbox<'_>, String> {
        let name = CString::new(template).map_err(|error| error.to_string())?;
        let mut options: ffi::CreateOptions = unsafe { std::mem::zeroed() }; // 0 and NULL: the defaults
        options.size = std::mem::size_of::<ffi::CreateOptions>();
        options.template_name = name.as_ptr();
        checked(ffi::orkestr_sandbox_free, |out, error| unsafe {
            ffi::orkestr_await_sandbox(ffi::orkestr_sandbox_create(self.0 .0, &options), FOREVER, out, error)
        })
        .map(|handle| Sandbox(handle, PhantomData))
    }
}

impl Sandbox<'_> {
    fn exec(&self, command: &str) -> Result<(i64, Vec<u8>), String> {
        let line = CString::new(command).map_err(|error| error.to_string())?;
        let value = checked(ffi::orkestr_value_free, |out, error| unsafe {
            ffi::orkestr_await(ffi::orkestr_sandbox_exec(self.0 .0, line.as_ptr(), null()), FOREVER, out, error)
        })?;
        let mut length = 0;
        let stdout = unsafe {
            let data = ffi::orkestr_value_bytes(value.0, b"stdout\0".as_ptr().cast(), &mut length);
            std::slice::from_raw_parts(data.cast::<u8>(), length).to_vec()
        };
        Ok((unsafe { ffi::orkestr_value_integer(value.0, b"exit_code\0".as_ptr().cast()) }, stdout))
    }

    fn terminate(&self) -> Result<(), String> {
        checked(ffi::orkestr_value_free, |out, error| unsafe {
            ffi::orkestr_await(ffi::orkestr_sandbox_terminate(self.0 .0), FOREVER, out, error)
        })
        .map(|_| ())
    }
}

fn main() -> Result<(), String> {
    let client = Client::open()?;
    let sandbox = client.create("python-3.12-bare")?;
    let outcome = sandbox.exec("python3 -c 'print(sum(range(1_000_000)))'");
    sandbox.terminate()?;
    let (exit_code, stdout) = outcome?;
    print!("stdout     {}", String::from_utf8_lossy(&stdout));
    println!("exit_code  {exit_code}");
    Ok(())
}
