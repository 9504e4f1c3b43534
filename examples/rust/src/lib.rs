// What the examples need of the C interface, made safe: every handle is freed once, every error is a Result. Copy it, and add what
// you need more of; orkestr.h is the manual.
use std::ffi::{CStr, CString};
use std::fmt;
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
        pub fn orkestr_sandbox_exec_stream(
            sandbox: Handle,
            command: *const c_char,
            options: *const c_void,
            stream: *mut Handle,
            error: *mut Handle,
        ) -> c_int;
        pub fn orkestr_sandbox_terminate(sandbox: Handle) -> Handle;
        pub fn orkestr_sandbox_free(sandbox: Handle);
        pub fn orkestr_await(operation: Handle, timeout_ms: i64, value: *mut Handle, error: *mut Handle) -> c_int;
        pub fn orkestr_await_sandbox(operation: Handle, timeout_ms: i64, out: *mut Handle, error: *mut Handle)
            -> c_int;
        pub fn orkestr_stream_next(stream: Handle, timeout_ms: i64, piece: *mut Handle, error: *mut Handle) -> c_int;
        pub fn orkestr_stream_free(stream: Handle);
        pub fn orkestr_value_type(value: Handle, field: *const c_char) -> c_int;
        pub fn orkestr_value_bytes(value: Handle, field: *const c_char, length: *mut usize) -> *const c_char;
        pub fn orkestr_value_integer(value: Handle, field: *const c_char) -> i64;
        pub fn orkestr_value_free(value: Handle);
        pub fn orkestr_error_message(error: Handle) -> *const c_char;
        pub fn orkestr_error_free(error: Handle);
        pub fn orkestr_status_name(status: c_int) -> *const c_char;
    }
}

const OK: c_int = 0;
const END: c_int = -2;
const INVALID_ARGUMENT: c_int = 2;
const TYPE_INTEGER: c_int = 3;
const FOREVER: i64 = -1;

// `status` is the number that orkestr.h gives it.
#[derive(Debug)]
pub struct Error {
    pub status: i32,
    pub message: String,
}
impl std::error::Error for Error {}
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", text(unsafe { ffi::orkestr_status_name(self.status) }), self.message)
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

fn c_string(argument: &str) -> Result<CString, Error> {
    CString::new(argument).map_err(|error| Error { status: INVALID_ARGUMENT, message: error.to_string() })
}

// Calls `work` with a place for the handle and one for the error. Nothing: END.
fn try_next(
    free: unsafe extern "C" fn(ffi::Handle),
    work: impl FnOnce(*mut ffi::Handle, *mut ffi::Handle) -> c_int,
) -> Result<Option<Owned>, Error> {
    let (mut out, mut error) = (null_mut(), null_mut());
    let status = work(&mut out, &mut error);
    let (out, error) = (Owned(out, free), Owned(error, ffi::orkestr_error_free)); // freeing NULL does nothing
    match status {
        OK => Ok(Some(out)),
        END => Ok(None),
        status => Err(Error { status, message: text(unsafe { ffi::orkestr_error_message(error.0) }) }),
    }
}

// The same for what has no end.
fn checked(
    free: unsafe extern "C" fn(ffi::Handle),
    work: impl FnOnce(*mut ffi::Handle, *mut ffi::Handle) -> c_int,
) -> Result<Owned, Error> {
    try_next(free, work).map(|out| out.expect("only a stream ends"))
}

impl Owned {
    // Of a value. `field` ends with a NUL.
    fn bytes(&self, field: &[u8]) -> Vec<u8> {
        let mut length = 0;
        unsafe {
            let data = ffi::orkestr_value_bytes(self.0, field.as_ptr().cast(), &mut length);
            std::slice::from_raw_parts(data.cast::<u8>(), length).to_vec()
        }
    }
    fn integer(&self, field: &[u8]) -> Option<i64> {
        let name = field.as_ptr().cast();
        unsafe {
            (ffi::orkestr_value_type(self.0, name) == TYPE_INTEGER).then(|| ffi::orkestr_value_integer(self.0, name))
        }
    }
}

pub struct Client(Owned);

// Freeing it ends nothing; terminate() does. The lifetime keeps programs tidy, the library does not need it.
pub struct Sandbox<'a>(Owned, PhantomData<&'a Client>);

pub struct ExecResult {
    pub exit_code: i64,
    pub stdout: Vec<u8>,
}

// A command's output, piece by piece, as it comes. Dropped before its end, it leaves the command running.
pub struct Stream<'a>(Owned, PhantomData<&'a Client>);

pub enum Piece {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Exit(i64),
}

impl Client {
    pub fn open() -> Result<Client, Error> {
        checked(ffi::orkestr_client_free, |out, error| unsafe { ffi::orkestr_client_open(null(), out, error) })
            .map(Client)
    }

    pub fn create(&self, template: &str) -> Result<Sandbox<'_>, Error> {
        let name = c_string(template)?;
        let mut options: ffi::CreateOptions = unsafe { std::mem::zeroed() }; // 0 and NULL: the defaults
        options.size = std::mem::size_of::<ffi::CreateOptions>();
        options.template_name = name.as_ptr();
        checked(ffi::orkestr_sandbox_free, |out, error| unsafe {
            ffi::orkestr_await_sandbox(ffi::orkestr_sandbox_create(self.0 .0, &options), FOREVER, out, error)
        })
        .map(|handle| Sandbox(handle, PhantomData))
    }
}

impl<'a> Sandbox<'a> {
    pub fn exec(&self, command: &str) -> Result<ExecResult, Error> {
        let line = c_string(command)?;
        let value = checked(ffi::orkestr_value_free, |out, error| unsafe {
            ffi::orkestr_await(ffi::orkestr_sandbox_exec(self.0 .0, line.as_ptr(), null()), FOREVER, out, error)
        })?;
        Ok(ExecResult { exit_code: value.integer(b"exit_code\0").unwrap_or(-1), stdout: value.bytes(b"stdout\0") })
    }

    pub fn exec_stream(&self, command: &str) -> Result<Stream<'a>, Error> {
        let line = c_string(command)?;
        checked(ffi::orkestr_stream_free, |out, error| unsafe {
            ffi::orkestr_sandbox_exec_stream(self.0 .0, line.as_ptr(), null(), out, error)
        })
        .map(|handle| Stream(handle, PhantomData))
    }

    pub fn terminate(&self) -> Result<(), Error> {
        checked(ffi::orkestr_value_free, |out, error| unsafe {
            ffi::orkestr_await(ffi::orkestr_sandbox_terminate(self.0 .0), FOREVER, out, error)
        })
        .map(|_| ())
    }
}

// Waits for the next piece. After an error the library says that there is nothing more.
impl Iterator for Stream<'_> {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = try_next(ffi::orkestr_value_free, |out, error| unsafe {
            ffi::orkestr_stream_next(self.0 .0, FOREVER, out, error)
        });
        let piece = match next {
            Ok(piece) => piece?,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(match piece.integer(b"exit_code\0") {
            Some(code) => Piece::Exit(code),
            None if piece.bytes(b"stream\0") == b"stderr" => Piece::Stderr(piece.bytes(b"data\0")),
            None => Piece::Stdout(piece.bytes(b"data\0")),
        }))
    }
}
