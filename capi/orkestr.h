/* The C interface of orkestr: throwaway Linux microVMs. What is not in this file is not API.
 *
 *   orkestr_client* client = NULL;
 *   orkestr_sandbox* sandbox = NULL;
 *   orkestr_value* result = NULL;
 *   orkestr_create_options options = ORKESTR_CREATE_OPTIONS_INIT;
 *   options.template_name = "python-3.12-bare";
 *   orkestr_client_open(NULL, &client, NULL);
 *   orkestr_await_sandbox(orkestr_sandbox_create(client, &options), ORKESTR_FOREVER, &sandbox, NULL);
 *   orkestr_await(orkestr_sandbox_exec(sandbox, "echo hello", NULL), ORKESTR_FOREVER, &result, NULL);
 *   puts(orkestr_value_text(result, "stdout"));
 *
 * 1. Handles are opaque. What a function gives is the caller's, to be freed once with the _free function of its type;
 *    results marked "borrowed" are not. Freeing NULL does nothing. Handles may be freed in any order, and freeing one
 *    ends no sandbox and no command. A handle that is NULL, of another type or freed lately is an error, not a crash.
 * 2. What may take time is an operation: the function begins it and returns at once, never NULL unless memory is out.
 *    All that is wrong, arguments included, shows when it is awaited. One of the orkestr_await functions consumes it;
 *    orkestr_operation_free() lets go of it, and the work goes on.
 * 3. What an operation gives is a value: a record of named fields, a list, or one item. The fields are listed where
 *    the operation is declared: "(FIELD text, …)"; "?" after the type: may be null. A later version may add fields.
 * 4. A function that can fail returns an orkestr_status: 0 is success, above 0 an error, below 0 neither of them
 *    (ORKESTR_AGAIN, ORKESTR_END). With an error, and only then, *error is set, for orkestr_error_free(); `error` may
 *    be NULL. Other outputs are NULL or 0 unless the function succeeded.
 * 5. Options are structs that begin as their _INIT macro. NULL for all of them, and 0 or NULL in a field, mean the
 *    default. `size` tells the library which version of the struct it sees.
 * 6. Text is UTF-8 with a NUL at the end; what may contain NUL is a pointer and a length (NULL and 0: empty). All
 *    inputs are copied before a function returns.
 * 7. `timeout_ms` is what a function waits at most; 0: not at all; ORKESTR_FOREVER: as long as the operation or command
 *    itself may take. Points in time are milliseconds since 1970. _mb is MiB.
 * 8. Any function may be called from any thread, and from callbacks; but one handle must not be freed while another
 *    thread uses it. (An await frees its operation; cancel and wait may be called beside it all the same.) Callbacks
 *    run one at a time on a thread of the client and must not throw. When a function that takes a callback fails, the
 *    callback is never called; else its last call, and only that, is given ORKESTR_END. (Progress is told on the thread
 *    that works, and none begins once its operation was awaited, cancelled or freed; these wait for a call of it that
 *    is under way, 5 s at most, and not at all when they are called from it.) In a forked child a handle of the
 *    parent's answers ORKESTR_NOT_READY, and freeing it does nothing; values, errors and the id of a sandbox can still
 *    be read.
 * 9. Every function is there since 0.7 unless marked "since". docs/ABI.md says what may change and when.
 */
#ifndef ORKESTR_H
#define ORKESTR_H

#include <stddef.h>
#include <stdint.h>

#define ORKESTR_VERSION_MAJOR 0
#define ORKESTR_VERSION_MINOR 7
#define ORKESTR_VERSION_PATCH 0
#define ORKESTR_VERSION "0.7.0"

#ifndef ORKESTR_API
#if defined(__GNUC__)
#define ORKESTR_API __attribute__((visibility("default")))
#else
#define ORKESTR_API
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct orkestr_client orkestr_client;       /* a backend, and the threads its sandboxes share */
typedef struct orkestr_sandbox orkestr_sandbox;     /* one sandbox */
typedef struct orkestr_command orkestr_command;     /* a background command */
typedef struct orkestr_stream orkestr_stream;       /* output, input, a file or a run of code, piece by piece */
typedef struct orkestr_operation orkestr_operation; /* something under way */
typedef struct orkestr_value orkestr_value;         /* what came of it */
typedef struct orkestr_error orkestr_error;         /* or why not */

/* The version of the library that is linked, "0.7.0"; ORKESTR_VERSION is the one that was compiled against. */
ORKESTR_API const char* orkestr_version(void);

/* --- Errors ------------------------------------------------------------------------------------------------------- */
typedef enum orkestr_status {
  ORKESTR_OK = 0,
  ORKESTR_AGAIN = -1, /* nothing yet, within timeout_ms */
  ORKESTR_END = -2,   /* nothing more, ever */

  ORKESTR_INTERNAL = 1, /* a bug or a failure of the host that no other status names */
  ORKESTR_INVALID_ARGUMENT = 2,
  ORKESTR_UNAUTHORIZED = 3,
  ORKESTR_FORBIDDEN = 4,
  ORKESTR_RATE_LIMITED = 5,
  ORKESTR_PLAN_LIMIT = 6,
  ORKESTR_USAGE_EXHAUSTED = 7,
  ORKESTR_TRIAL_EXHAUSTED = 8,
  ORKESTR_LIFETIME_CAP_REACHED = 9,
  ORKESTR_SESSION_CAP_REACHED = 10,
  ORKESTR_SNAPSHOT_CAP_REACHED = 11,
  ORKESTR_FLEET_FULL_RETRY = 12,
  ORKESTR_NOT_FOUND = 13,
  ORKESTR_NOT_READY = 14,
  ORKESTR_EXEC_TIMEOUT = 15,
  ORKESTR_EXEC_KILLED = 16,
  ORKESTR_NETWORK_POLICY_BLOCKED = 17,
  ORKESTR_INTERPRETER_UNAVAILABLE = 18,
  ORKESTR_FILE_NOT_FOUND = 19,
  ORKESTR_NOT_PERMITTED = 20,
  ORKESTR_IS_A_DIRECTORY = 21,
  ORKESTR_NOT_A_DIRECTORY = 22,
  ORKESTR_FILE_EXISTS = 23,
  ORKESTR_VOLUME_IN_USE = 24,
  ORKESTR_TEMPLATE_NOT_FOUND = 25,
  ORKESTR_TEMPLATE_BUILD_FAILED = 26,
  ORKESTR_SNAPSHOT_INCOMPATIBLE = 27,
  ORKESTR_NOT_SUPPORTED = 28,
  ORKESTR_VM_FAILED = 29,
  ORKESTR_CONNECTION = 30,
  ORKESTR_API_ERROR = 31, /* "api": an answer of a service that no other status names */
  ORKESTR_CANCELLED = 32,
  ORKESTR_OUT_OF_MEMORY = 33 /* only where there was no memory for an error object either */
} orkestr_status;

/* "exec_timeout", as on the wire and in the other languages; "unknown" for a number that is none. Static. */
ORKESTR_API const char* orkestr_status_name(orkestr_status status);

ORKESTR_API orkestr_status orkestr_error_status(const orkestr_error* error);
/* For a person: what was tried, what happened, what to do. Borrowed from the error. */
ORKESTR_API const char* orkestr_error_message(const orkestr_error* error);
/* What a caller should do about errors of this status. Borrowed from the error. */
ORKESTR_API const char* orkestr_error_hint(const orkestr_error* error);
/* The id that the service gave the request; empty for local sandboxes. Borrowed from the error. */
ORKESTR_API const char* orkestr_error_request_id(const orkestr_error* error);
/* (code text, message text, hint text, status_code integer, detail text, request_id text, retry_after number or null,
 * signal integer, oom flag, stdout bytes, stderr bytes, host text, port integer, rule text, stage text, console_tail
 * text). `stdout` and `stderr`: the output so far, of exec_timeout and exec_killed. Borrowed from the error. */
ORKESTR_API const orkestr_value* orkestr_error_details(const orkestr_error* error);
ORKESTR_API void orkestr_error_free(orkestr_error* error);

/* --- Values ------------------------------------------------------------------------------------------------------- */
typedef enum orkestr_type {
  ORKESTR_TYPE_NONE = 0, /* there is no such field, or no such value */
  ORKESTR_TYPE_NULL = 1, /* the field has nothing in it */
  ORKESTR_TYPE_FLAG = 2, /* 0 or 1 */
  ORKESTR_TYPE_INTEGER = 3,
  ORKESTR_TYPE_NUMBER = 4,
  ORKESTR_TYPE_TIME = 5,  /* milliseconds since 1970 */
  ORKESTR_TYPE_TEXT = 6,  /* as it came from the guest or the service: UTF-8, unless they sent something else */
  ORKESTR_TYPE_BYTES = 7, /* may contain NUL */
  ORKESTR_TYPE_LIST = 8,
  ORKESTR_TYPE_RECORD = 9 /* also a map, whose fields are texts */
} orkestr_type;

/* `field` names a field of a record; NULL: the value itself. A getter of the wrong type gives 0 or an empty text, never
 * NULL and never an error: `type` tells what there is. */
ORKESTR_API orkestr_type orkestr_value_type(const orkestr_value* value, const char* field);
ORKESTR_API int64_t orkestr_value_integer(const orkestr_value* value, const char* field); /* flags and times, too */
ORKESTR_API double orkestr_value_number(const orkestr_value* value, const char* field);   /* integers, too */
/* Text or bytes, with a NUL behind them. `length` may be NULL. Borrowed from the value. */
ORKESTR_API const char* orkestr_value_text(const orkestr_value* value, const char* field);
ORKESTR_API const char* orkestr_value_bytes(const orkestr_value* value, const char* field, size_t* length);
/* A field, to read the fields in it; NULL when there is none. Borrowed from the value. */
ORKESTR_API const orkestr_value* orkestr_value_field(const orkestr_value* value, const char* field);
/* The items of a list, the fields of a record. */
ORKESTR_API size_t orkestr_value_count(const orkestr_value* value, const char* field);
/* One of them; NULL beyond the last. Borrowed from the value. */
ORKESTR_API const orkestr_value* orkestr_value_at(const orkestr_value* value, const char* field, size_t index);
/* The name of a record's field; NULL beyond the last. Borrowed from the value. */
ORKESTR_API const char* orkestr_value_name(const orkestr_value* value, const char* field, size_t index);
ORKESTR_API void orkestr_value_free(orkestr_value* value);

/* --- Operations --------------------------------------------------------------------------------------------------- */
#define ORKESTR_FOREVER ((int64_t)-1)

/* ORKESTR_OK: from now on, or once more. ORKESTR_END: the last call. */
typedef void (*orkestr_callback)(void* user, orkestr_status status);

/* These three wait for an operation, give its result and free it, whatever comes of it. When timeout_ms passes before
 * it is complete, it is cancelled: ORKESTR_CANCELLED, within a second more (or its result, if that was faster). They
 * differ in what the operation gives: a value (which may be NULL: "nothing"), a sandbox, a command. Awaited as
 * something else, while it is awaited already, or with a NULL output (of the latter two; `value` may be NULL), it is
 * invalid_argument and stays. */
ORKESTR_API orkestr_status orkestr_await(orkestr_operation* operation, int64_t timeout_ms, orkestr_value** value,
                                         orkestr_error** error);
ORKESTR_API orkestr_status orkestr_await_sandbox(orkestr_operation* operation, int64_t timeout_ms,
                                                 orkestr_sandbox** sandbox, orkestr_error** error);
ORKESTR_API orkestr_status orkestr_await_command(orkestr_operation* operation, int64_t timeout_ms,
                                                 orkestr_command** command, orkestr_error** error);
/* ORKESTR_OK when an await would not wait, else ORKESTR_AGAIN. */
ORKESTR_API orkestr_status orkestr_operation_wait(orkestr_operation* operation, int64_t timeout_ms,
                                                  orkestr_error** error);
/* A descriptor for poll(): readable once complete. Borrowed; -1 when the process has none left. */
ORKESTR_API int orkestr_operation_fd(orkestr_operation* operation);
/* Calls `callback` once, with ORKESTR_END, when complete, even if the operation was freed. One callback an operation.
 */
ORKESTR_API orkestr_status orkestr_operation_notify(orkestr_operation* operation, orkestr_callback callback, void* user,
                                                    orkestr_error** error);
/* Asks for an early end: a command's process tree is killed, a transfer dropped. It still completes, as `cancelled`
 * unless it was faster. What runs in one piece (host, pools, templates) goes on unseen. */
ORKESTR_API orkestr_status orkestr_operation_cancel(orkestr_operation* operation, orkestr_error** error);
ORKESTR_API void orkestr_operation_free(orkestr_operation* operation);

/* --- Clients ------------------------------------------------------------------------------------------------------ */
typedef struct orkestr_client_options {
  size_t size;
  const char* backend;  /* "local", "remote" or "automatic" (the default): from ORKESTR_BACKEND, else "remote" when
                           ORKESTR_API_KEY or ORKESTR_BASE_URL is set, else "local" */
  const char* api_key;  /* remote; default: ORKESTR_API_KEY */
  const char* base_url; /* remote; default: ORKESTR_BASE_URL, else the hosted service */
  int64_t timeout_ms;   /* remote: of one request, 1 s to 3600 s; default 30 s; in whole seconds, rounded up */
} orkestr_client_options;
#define ORKESTR_CLIENT_OPTIONS_INIT \
  { sizeof(orkestr_client_options), 0, 0, 0, 0 }

/* Touches no network and does not wait. */
ORKESTR_API orkestr_status orkestr_client_open(const orkestr_client_options* options, orkestr_client** client,
                                               orkestr_error** error);
/* "local" or "remote"; empty for what is no client. Static. */
ORKESTR_API const char* orkestr_client_backend(const orkestr_client* client);
/* Ends its threads: what has begun completes as `cancelled` (or with its result, if that was faster), nothing begins
 * any more: ORKESTR_NOT_READY. Sandboxes live on. Idempotent. Waits for callbacks that run, those of progress too, and
 * for work that is asked to stop: 5 s at most in all. Called from a callback, it does not wait for that one. */
ORKESTR_API orkestr_status orkestr_client_close(orkestr_client* client, orkestr_error** error);
/* Handles that came from it keep it open. */
ORKESTR_API void orkestr_client_free(orkestr_client* client);
/* What this account, or this machine, allows. (plan text, max_concurrent integer, max_snapshots integer, allowed_sizes
 * list of text, sizes list of (size text, cpu number, memory_mb integer, allowed flag), regions list of (id text, label
 * text), custom_egress_allowlist flag, default_egress_domains list of text, trial_credit_eur number?,
 * trial_credit_used_eur number?, max_running_lifetime_seconds integer?, max_named_snapshots integer?,
 * max_timeout_seconds integer?, usage_resets_at text) */
ORKESTR_API orkestr_operation* orkestr_client_limits(orkestr_client* client);

/* --- Sandboxes ---------------------------------------------------------------------------------------------------- */
typedef struct orkestr_pair {
  const char* name;
  const char* value;
} orkestr_pair;

/* `progress` of the building of a template: (template text, step text, index integer, count integer, line text,
 * elapsed_ms integer), borrowed for the call. On the thread that builds; until when: rule 8. */
typedef void (*orkestr_progress_callback)(void* user, const orkestr_value* progress);

typedef struct orkestr_create_options {
  size_t size;
  const char* template_name; /* "python-3.12-bare"; either this or `snapshot` */
  const char* snapshot;      /* id of a named snapshot */
  const char* machine_size;  /* "small" (1 vCPU, 1024 MiB), "medium" (2, 4096), "large" (4, 8192) */
  double cpu;                /* 0.25 to 16; overrides machine_size */
  int memory_mb;             /* 256 to 65536; overrides machine_size */
  int disk_mb;               /* 8192 (the default) to 131072 */
  const char* network;       /* "off" (the default), "restricted", "open" */
  int64_t timeout_ms;        /* life span, 10 s to 24 h locally; default 600 s; in whole seconds, rounded up */
  const char* on_timeout;    /* "kill" (the default), "pause" */
  int auto_resume;           /* 1: an operation on the paused sandbox resumes it first */
  int64_t paused_ttl_ms;     /* how long it is kept when paused; default: until resumed; in whole seconds */
  int preview_auth;          /* 1: previews ask for a token */
  const orkestr_pair* env;   /* for every command */
  size_t env_count;
  const orkestr_pair* metadata; /* yours, for orkestr_sandbox_list() */
  size_t metadata_count;
  const char* region;
  const char* const* allow_domains; /* replaces the list of "restricted": 0 of them allow nothing; NULL: its own */
  size_t allow_domains_count;
  const char* volume;
  int max_retries;      /* when the host or fleet is full; default 5; -1: none */
  int64_t retry_max_ms; /* so long after the first attempt none begins; of a service: of pauses in all; default 60 s; in
                         * whole seconds */
  int no_auto_build;    /* 1: template_not_found for a template that is not built */
  orkestr_progress_callback on_progress;
  void* progress_user;
} orkestr_create_options;
#define ORKESTR_CREATE_OPTIONS_INIT \
  { sizeof(orkestr_create_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

typedef struct orkestr_resume_options {
  size_t size;
  int max_retries;      /* as of orkestr_create_options */
  int64_t retry_max_ms; /* likewise */
} orkestr_resume_options;
#define ORKESTR_RESUME_OPTIONS_INIT \
  { sizeof(orkestr_resume_options), 0, 0 }

typedef struct orkestr_list_options {
  size_t size;
  const char* status;           /* "running", "paused"…; default: all */
  const orkestr_pair* metadata; /* exact match of all */
  size_t metadata_count;
  int limit;          /* page size, 1 to 200; default 50 */
  size_t max_results; /* default: all */
} orkestr_list_options;
#define ORKESTR_LIST_OPTIONS_INIT \
  { sizeof(orkestr_list_options), 0, 0, 0, 0, 0 }

/* These give a sandbox. `create`: one that runs and answers; builds its template first when that was never done.
 * `resume`: a paused one, as it was. */
ORKESTR_API orkestr_operation* orkestr_sandbox_create(orkestr_client* client, const orkestr_create_options* options);
ORKESTR_API orkestr_operation* orkestr_sandbox_get(orkestr_client* client, const char* sandbox_id);
ORKESTR_API orkestr_operation* orkestr_sandbox_resume(orkestr_client* client, const char* sandbox_id,
                                                      const orkestr_resume_options* options);
/* A list of what orkestr_sandbox_info() gives, newest first. */
ORKESTR_API orkestr_operation* orkestr_sandbox_list(orkestr_client* client, const orkestr_list_options* options);

/* Borrowed from the handle; empty for what is no sandbox. */
ORKESTR_API const char* orkestr_sandbox_id(const orkestr_sandbox* sandbox);
/* As of create, get or the last refresh, set_timeout or terminate. (id text, status text, template text, network text,
 * cpu number, cpu_reason text, memory_mb integer, disk_mb integer, region text, created_at time, expires_at time,
 * metadata map, on_timeout text, auto_resume flag, paused_expires_at time?, preview_auth flag, preview_auth_token text,
 * volume text, node_id text, backend text, end_reason text, accelerator text, accelerator_reason text, isolation text,
 * jail text) */
ORKESTR_API orkestr_status orkestr_sandbox_info(const orkestr_sandbox* sandbox, orkestr_value** info,
                                                orkestr_error** error);
/* These three give the info afterwards. set_timeout: so long from now, in whole seconds, rounded up. terminate: in
 * every state, idempotent; when it completes no process of the sandbox is left. */
ORKESTR_API orkestr_operation* orkestr_sandbox_refresh(orkestr_sandbox* sandbox);
ORKESTR_API orkestr_operation* orkestr_sandbox_set_timeout(orkestr_sandbox* sandbox, int64_t timeout_ms);
ORKESTR_API orkestr_operation* orkestr_sandbox_terminate(orkestr_sandbox* sandbox);
/* Freezes the sandbox to disk. Gives its id, for orkestr_sandbox_resume(). */
ORKESTR_API orkestr_operation* orkestr_sandbox_pause(orkestr_sandbox* sandbox);
/* Oldest first: a list of (time time, kind text, outcome text, command text, path text, exit_code integer?, duration_ms
 * integer?, reason text, json text). `since`: 0: all; `limit`: the newest so many; 0: 100000. */
ORKESTR_API orkestr_operation* orkestr_sandbox_events(orkestr_sandbox* sandbox, int64_t since, size_t limit);
/* (sandbox_id text, status text, as_of time, sample_interval_seconds number, window_seconds number, cpu_cores number,
 * cpu_usage_cores number?, cpu_usage_percent number?, memory_limit_bytes integer, memory_usage_bytes integer?,
 * memory_usage_percent number?, lifetime_cpu_seconds number, lifetime_gb_seconds number, samples list of (time time,
 * cpu_percent number, memory_bytes integer)). `since`: 0: all of the last minute. */
ORKESTR_API orkestr_operation* orkestr_sandbox_metrics(orkestr_sandbox* sandbox, int64_t since);
/* A named snapshot that others can start from; `name` may be NULL. Gives what orkestr_snapshot_get() gives. */
ORKESTR_API orkestr_operation* orkestr_sandbox_snapshot(orkestr_sandbox* sandbox, const char* name);
/* The host name under which a port served in the sandbox can be reached: text. Remote. */
ORKESTR_API orkestr_operation* orkestr_sandbox_get_host(orkestr_sandbox* sandbox, int port);
ORKESTR_API void orkestr_sandbox_free(orkestr_sandbox* sandbox);

/* --- Commands ----------------------------------------------------------------------------------------------------- */
typedef struct orkestr_exec_options {
  size_t size;
  const char* cwd;         /* absolute; default /workspace */
  const orkestr_pair* env; /* over the sandbox's own */
  size_t env_count;
  int64_t timeout_ms;     /* 1 ms to 24 h; default 60 s; then the whole process tree ends: exec_timeout */
  const char* user;       /* name or number in the guest; default root */
  const void* stdin_data; /* bytes for standard input; NULL: /dev/null */
  size_t stdin_length;
  int stdin_open; /* streams only; 1: standard input stays open, for orkestr_stream_write() */
  int tty;        /* streams only; 1: a terminal of cols x rows (1 to 1000 each; default 80 x 24); implies stdin_open */
  int cols;
  int rows;
  size_t max_output_bytes; /* kept of each stream, 1 KiB to 1 GiB: the first half and the last half; default 64 MiB */
} orkestr_exec_options;
#define ORKESTR_EXEC_OPTIONS_INIT \
  { sizeof(orkestr_exec_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Runs a shell command line (/bin/bash -c), or without a shell the program argv[0] of `argc` arguments, and waits for
 * its end. A non-zero exit code is a result. (stdout bytes, stderr bytes, exit_code integer, duration_ms integer,
 * stdout_total_bytes integer, stderr_total_bytes integer, truncated flag, user_ms integer, system_ms integer,
 * max_rss_kb integer, network_denied list of text) */
ORKESTR_API orkestr_operation* orkestr_sandbox_exec(orkestr_sandbox* sandbox, const char* command,
                                                    const orkestr_exec_options* options);
ORKESTR_API orkestr_operation* orkestr_sandbox_run(orkestr_sandbox* sandbox, const char* const* argv, size_t argc,
                                                   const orkestr_exec_options* options);
/* The same as streams: output as it comes, input as it is written. They return at once; what goes wrong later is what
 * the stream says. */
ORKESTR_API orkestr_status orkestr_sandbox_exec_stream(orkestr_sandbox* sandbox, const char* command,
                                                       const orkestr_exec_options* options, orkestr_stream** stream,
                                                       orkestr_error** error);
ORKESTR_API orkestr_status orkestr_sandbox_run_stream(orkestr_sandbox* sandbox, const char* const* argv, size_t argc,
                                                      const orkestr_exec_options* options, orkestr_stream** stream,
                                                      orkestr_error** error);

/* Background commands outlive their caller and pause. These two give a command: a new one (of the options cwd, env and
 * user count), and one by its id. */
ORKESTR_API orkestr_operation* orkestr_sandbox_start(orkestr_sandbox* sandbox, const char* command,
                                                     const orkestr_exec_options* options);
ORKESTR_API orkestr_operation* orkestr_sandbox_command(orkestr_sandbox* sandbox, const char* command_id);
/* A list of what orkestr_command_info() gives, oldest first, ended ones included. */
ORKESTR_API orkestr_operation* orkestr_sandbox_commands(orkestr_sandbox* sandbox);

/* As of the start or the last refresh, kill or wait. (id text, command text, pid integer?, status text ("running",
 * "exited", "killed"), exit_code integer?, started_at time?) */
ORKESTR_API orkestr_status orkestr_command_info(const orkestr_command* command, orkestr_value** info,
                                                orkestr_error** error);
/* These three give the info afterwards. kill: SIGTERM to all it started, SIGKILL two seconds later; idempotent. wait:
 * until it has ended; exec_timeout when timeout_ms passes (it runs on). */
ORKESTR_API orkestr_operation* orkestr_command_refresh(orkestr_command* command);
ORKESTR_API orkestr_operation* orkestr_command_kill(orkestr_command* command);
ORKESTR_API orkestr_operation* orkestr_command_wait(orkestr_command* command, int64_t timeout_ms);
/* At most 1 MiB of its output from `offset` on. (content bytes, start_offset integer, size integer, truncated flag,
 * next_offset integer) */
ORKESTR_API orkestr_operation* orkestr_command_logs(orkestr_command* command, uint64_t offset);
/* Its output from `offset` on until it has ended, for at most timeout_ms (0: 300 s; ORKESTR_FOREVER: 24 h, the most
 * there is; in whole seconds, rounded up). */
ORKESTR_API orkestr_status orkestr_command_stream(orkestr_command* command, uint64_t offset, int64_t timeout_ms,
                                                  orkestr_stream** stream, orkestr_error** error);
ORKESTR_API void orkestr_command_free(orkestr_command* command);

/* --- Code, in an interpreter that stays: what one call defines is there in the next one of its context ------------ */
/* For sandboxes of a service made from the template code-interpreter, or one built on it; others, and every local one:
 * interpreter_unavailable. */
typedef struct orkestr_code_options {
  size_t size;
  const char* language;   /* "python" (the default); what else there is depends on the template */
  const char* context_id; /* default: the context "default" */
  int64_t timeout_ms;     /* 1 ms to 24 h; default 60 s; the run is then interrupted, the variables are kept */
} orkestr_code_options;
#define ORKESTR_CODE_OPTIONS_INIT \
  { sizeof(orkestr_code_options), 0, 0, 0 }

/* Runs code and waits for its end. What it raises is a result, and a run that was interrupted, too. (results list of
 * (type text, text text?, html text?, png bytes?, json text?, chart text?), stdout text, stderr text, error record? of
 * (name text, value text, traceback list of text), execution_count integer?, context_id text, duration_ms integer,
 * interrupted flag, restarted flag, truncated list of text, text text?). `type`: the richest form there is, "text",
 * "html", "image_png", "json", "chart" or a newer one; `json` and `chart` are JSON text; `text`: of the last result
 * that has one; restarted: the interpreter had died, its variables are lost; truncated: what the service has cut. */
ORKESTR_API orkestr_operation* orkestr_sandbox_run_code(orkestr_sandbox* sandbox, const char* code,
                                                        const orkestr_code_options* options);
/* The same with output and results as they come. A piece of this stream is an event: (kind text, "stream", "result",
 * "error" or "done"; stream text?, "stdout" or "stderr"; text text?; result record?; error record?; execution record?),
 * the records as above; what its kind does not have is null. "error": the code raised; "done" still comes, the last
 * one, with all that came before in its `execution`. */
ORKESTR_API orkestr_status orkestr_sandbox_run_code_stream(orkestr_sandbox* sandbox, const char* code,
                                                           const orkestr_code_options* options, orkestr_stream** stream,
                                                           orkestr_error** error);
/* A context: an interpreter of its own, in the directory `cwd` (NULL: the service's choice), until it is removed or the
 * sandbox ends. Its id is for orkestr_code_options. (id text, language text, cwd text, created_at time?, last_used_at
 * time?, executions integer, alive flag); `code_contexts`: a list of these. */
ORKESTR_API orkestr_operation* orkestr_sandbox_create_code_context(orkestr_sandbox* sandbox, const char* cwd);
ORKESTR_API orkestr_operation* orkestr_sandbox_code_contexts(orkestr_sandbox* sandbox);
/* A new interpreter without variables, under the same id. Gives the context afterwards. */
ORKESTR_API orkestr_operation* orkestr_code_context_restart(orkestr_sandbox* sandbox, const char* context_id);
/* Ends the interpreter and forgets the context; not_found when it is gone already. */
ORKESTR_API orkestr_operation* orkestr_code_context_remove(orkestr_sandbox* sandbox, const char* context_id);

/* --- Streams: a command's output and input, a background command's output, a file's content, the events of code --- */
/* The next piece: ORKESTR_OK; ORKESTR_AGAIN: none came within timeout_ms; ORKESTR_END: there is nothing more. (stream
 * text, "stdout" or "stderr"; data bytes; exit_code integer?; duration_ms integer?) The last piece of a command has its
 * exit_code. Of code: see orkestr_sandbox_run_code_stream(). Reading slowly slows the command down. One reader at a
 * time. */
ORKESTR_API orkestr_status orkestr_stream_next(orkestr_stream* stream, int64_t timeout_ms, orkestr_value** piece,
                                               orkestr_error** error);
/* Writes to a command with stdin_open or tty, or to a file: some of the bytes, as soon as there is room for any, and
 * says how many. ORKESTR_AGAIN: for none. May be called beside next(); one writer at a time. */
ORKESTR_API orkestr_status orkestr_stream_write(orkestr_stream* stream, const void* data, size_t length,
                                                int64_t timeout_ms, size_t* written, orkestr_error** error);
/* No more input. A command reads end of file. A file appears under its name, whole; ORKESTR_AGAIN: not yet, call it
 * again. Freeing a file's stream before leaves nothing behind. Idempotent. */
ORKESTR_API orkestr_status orkestr_stream_finish(orkestr_stream* stream, int64_t timeout_ms, orkestr_error** error);
/* The terminal's new size, 1 to 1000 each. */
ORKESTR_API orkestr_status orkestr_stream_resize(orkestr_stream* stream, int cols, int rows, orkestr_error** error);
/* Kills the command's process tree, drops the file's transfer; background commands and code run on: invalid_argument.
 * From any thread. */
ORKESTR_API orkestr_status orkestr_stream_cancel(orkestr_stream* stream, orkestr_error** error);
/* A descriptor for poll(): readable when next() would not wait. Borrowed; -1 for a file being written, and when the
 * process has none left. */
ORKESTR_API int orkestr_stream_fd(orkestr_stream* stream);
/* Calls `callback` with ORKESTR_OK when next() would not wait, and again, as long as that is so, after each next(), in
 * whichever thread that is; and at last, after the last piece or orkestr_stream_free(), with ORKESTR_END. One callback
 * a stream, once. */
ORKESTR_API orkestr_status orkestr_stream_notify(orkestr_stream* stream, orkestr_callback callback, void* user,
                                                 orkestr_error** error);
/* Process id of the command in the guest; 0 until it has started, and for what is no command. */
ORKESTR_API int64_t orkestr_stream_pid(const orkestr_stream* stream);
/* Lets go: a command, or code, runs on until its timeout, its further output is discarded. */
ORKESTR_API void orkestr_stream_free(orkestr_stream* stream);

/* --- Files: absolute paths; writing under /workspace, /tmp and /persist, reading everywhere ----------------------- */
typedef struct orkestr_file {
  const char* path;
  const void* content;
  size_t length;
  int mode; /* permission bits; 0: 0644 */
} orkestr_file;

ORKESTR_API orkestr_operation* orkestr_files_read(orkestr_sandbox* sandbox, const char* path); /* bytes */
/* Creates or replaces the file, and missing parent directories. `mode`: 0: 0644. */
ORKESTR_API orkestr_operation* orkestr_files_write(orkestr_sandbox* sandbox, const char* path, const void* content,
                                                   size_t length, int mode);
ORKESTR_API orkestr_status orkestr_files_read_stream(orkestr_sandbox* sandbox, const char* path,
                                                     orkestr_stream** stream, orkestr_error** error);
ORKESTR_API orkestr_status orkestr_files_write_stream(orkestr_sandbox* sandbox, const char* path, int mode,
                                                      orkestr_stream** stream, orkestr_error** error);
/* By name: a list of (name text, is_dir flag, size integer, mode integer, modified_at time) */
ORKESTR_API orkestr_operation* orkestr_files_list(orkestr_sandbox* sandbox, const char* path);
/* (exists flag, is_dir flag, size integer, mode integer, modified_at time). A missing path is a value, too. */
ORKESTR_API orkestr_operation* orkestr_files_stat(orkestr_sandbox* sandbox, const char* path);
ORKESTR_API orkestr_operation* orkestr_files_exists(orkestr_sandbox* sandbox, const char* path); /* flag */
/* Files and links only. */
ORKESTR_API orkestr_operation* orkestr_files_remove(orkestr_sandbox* sandbox, const char* path);
/* `parents` 1: missing parents too, and an existing directory is no error. */
ORKESTR_API orkestr_operation* orkestr_files_mkdir(orkestr_sandbox* sandbox, const char* path, int parents);
ORKESTR_API orkestr_operation* orkestr_files_move(orkestr_sandbox* sandbox, const char* source,
                                                  const char* destination);
/* Up to 64 files, each below 16 MiB: a list of (path text, bytes_written integer, status integer, error text, message
 * text); `status` is an orkestr_status, and `error` its name, empty for ORKESTR_OK. The others are written all the
 * same. */
ORKESTR_API orkestr_operation* orkestr_files_write_batch(orkestr_sandbox* sandbox, const orkestr_file* files,
                                                         size_t count);
/* A URL that reads or writes one file without a key, for 60 s to 3600 s (0: 600 s), rounded up to seconds. Remote.
 * (url text, method text, path text, expires_at time) */
ORKESTR_API orkestr_operation* orkestr_files_presign_download(orkestr_sandbox* sandbox, const char* path,
                                                              int64_t expires_in_ms);
ORKESTR_API orkestr_operation* orkestr_files_presign_upload(orkestr_sandbox* sandbox, const char* path,
                                                            int64_t expires_in_ms);

/* --- Snapshots and templates -------------------------------------------------------------------------------------- */
/* (id text, status text, template text, cpu number, memory_mb integer, network text, name text, source_sandbox_id text,
 * size_mb integer, node_id text, region text, error_message text, created_at time, ready_at time?); `list`: of these */
ORKESTR_API orkestr_operation* orkestr_snapshot_list(orkestr_client* client);
ORKESTR_API orkestr_operation* orkestr_snapshot_get(orkestr_client* client, const char* snapshot_id);
ORKESTR_API orkestr_operation* orkestr_snapshot_remove(orkestr_client* client, const char* snapshot_id);

typedef struct orkestr_template_options {
  size_t size;
  int force;          /* 1: build although it is there and current */
  const char* recipe; /* the text of a recipe of your own (JSON); its name must not be a built-in one */
  /* prepare() only: the machine whose snapshot is made ready, as in orkestr_create_options. */
  const char* machine_size;
  double cpu;
  int memory_mb;
  int disk_mb;
  orkestr_progress_callback on_progress;
  void* progress_user;
} orkestr_template_options;
#define ORKESTR_TEMPLATE_OPTIONS_INIT \
  { sizeof(orkestr_template_options), 0, 0, 0, 0, 0, 0, 0, 0 }

/* Builds the template unless it is there; prepare() also makes everything ready that a first create() would have to do.
 * Minutes; needs root. `name` may be NULL with a recipe of your own. (name text, description text, built flag, current
 * flag, build_id text, directory text, created_at time, bytes integer, digest text, image_sha256 text, recipe_sha256
 * text, kernel text, parts list of (source text, name text, version text, origin text, sha256 text, bytes integer)) */
ORKESTR_API orkestr_operation* orkestr_template_build(orkestr_client* client, const char* name,
                                                      const orkestr_template_options* options);
ORKESTR_API orkestr_operation* orkestr_template_prepare(orkestr_client* client, const char* name,
                                                        const orkestr_template_options* options);
ORKESTR_API orkestr_operation* orkestr_template_list(orkestr_client* client); /* list of the same, without parts */
ORKESTR_API orkestr_operation* orkestr_template_inspect(orkestr_client* client, const char* name); /* one, with them */
ORKESTR_API orkestr_operation* orkestr_template_remove(orkestr_client* client, const char* name);

/* --- Volumes and webhooks of a service; on the local backend not_supported ---------------------------------------- */
typedef struct orkestr_volume_options {
  size_t size;
  double size_gb;         /* the most it may hold, GiB from 0.25; default 10 */
  const char* region;     /* one of those that orkestr_client_limits() gives */
  int max_lifetime_days;  /* it is destroyed so long after its creation: 1 to 3650 days ... */
  int max_lifetime_hours; /* ... or 1 to 24 hours; 0: never; at most one of the two */
} orkestr_volume_options;
#define ORKESTR_VOLUME_OPTIONS_INIT \
  { sizeof(orkestr_volume_options), 0, 0, 0, 0 }

/* Storage that outlives sandboxes; orkestr_create_options.volume takes its name. (id text, name text, size_mb integer,
 * status text, region text, node_id text, attached_sandbox_id text, max_lifetime_days integer?, max_lifetime_hours
 * integer?, expires_at time?); `list`: of these */
ORKESTR_API orkestr_operation* orkestr_volume_create(orkestr_client* client, const char* name,
                                                     const orkestr_volume_options* options);
ORKESTR_API orkestr_operation* orkestr_volume_list(orkestr_client* client);
/* Exactly one of the two is not 0; -1: it lives on. Counted from its creation. */
ORKESTR_API orkestr_operation* orkestr_volume_update(orkestr_client* client, const char* volume_id,
                                                     int max_lifetime_days, int max_lifetime_hours);
/* These two: volume_in_use while a sandbox has it. */
ORKESTR_API orkestr_operation* orkestr_volume_move(orkestr_client* client, const char* volume_id, const char* region);
ORKESTR_API orkestr_operation* orkestr_volume_remove(orkestr_client* client, const char* volume_id);

/* An address that the service tells of events: "sandbox.created", ".paused", ".resumed", ".terminated", ".expired",
 * "template.build_finished", "volume.moved", "volume.expired"; NULL: of all. (id text, url text, event_types list of
 * text?, active flag, consecutive_failures integer, last_delivery_at time?, last_error text, created_at time?, secret
 * text); only `create` gives the secret; `list`: of these. */
ORKESTR_API orkestr_operation* orkestr_webhook_create(orkestr_client* client, const char* url,
                                                      const char* const* event_types, size_t event_types_count);
ORKESTR_API orkestr_operation* orkestr_webhook_list(orkestr_client* client);
/* One that was switched off after failures. */
ORKESTR_API orkestr_operation* orkestr_webhook_enable(orkestr_client* client, const char* webhook_id);
ORKESTR_API orkestr_operation* orkestr_webhook_remove(orkestr_client* client, const char* webhook_id);
/* 1: the delivery with this body, as it came, and this header X-Orkestr-Signature is from the service. */
ORKESTR_API int orkestr_verify_webhook_signature(const char* secret, const void* body, size_t length,
                                                 const char* signature);

/* --- This machine as a host; the client only lends a thread ------------------------------------------------------- */
/* A list of (check text, level text ("ok", "warning", "problem"), message text, remedy text, fixed flag). `fix` 1: mend
 * what can be mended without a decision. */
ORKESTR_API orkestr_operation* orkestr_host_doctor(orkestr_client* client, int fix);
/* Removes what nothing needs any more. (reaped list of text, forgotten list of text, removed list of text, bytes
 * integer, skipped text) */
ORKESTR_API orkestr_operation* orkestr_host_gc(orkestr_client* client);

typedef struct orkestr_pool_options {
  size_t size;
  const char* template_name; /* a built one */
  int count;                 /* how many are to be ready: 1 to 64; default 1; -1: none any more */
  const char* machine_size;  /* these four: as in orkestr_create_options */
  double cpu;
  int memory_mb;
  int disk_mb;
  int64_t idle_timeout_ms; /* one that nobody took for so long ends; 10 s to 366 days; default 3600 s; whole seconds */
  int min_available_mb;    /* with less memory available on the host they end; default 1024; -1: with any they stay */
  int reserved;            /* 0 */
} orkestr_pool_options;
#define ORKESTR_POOL_OPTIONS_INIT \
  { sizeof(orkestr_pool_options), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* The warm pool: machines that are ready before anybody asks. Completes when all are ready or cannot be, see `problem`.
 * (template text, count integer, ready integer, cpu number, memory_mb integer, disk_mb integer, idle_seconds integer,
 * min_available_mb integer, members list of (id text, ready flag, created_at time), problem text); `list`: of these.
 * `clear`: of this template, or with NULL of any; gives how many there were, an integer. */
ORKESTR_API orkestr_operation* orkestr_pool_set(orkestr_client* client, const orkestr_pool_options* options);
ORKESTR_API orkestr_operation* orkestr_pool_list(orkestr_client* client);
ORKESTR_API orkestr_operation* orkestr_pool_clear(orkestr_client* client, const char* template_name);

#ifdef __cplusplus
}
#endif
#endif
