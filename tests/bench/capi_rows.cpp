#include "capi_rows.hpp"

#include <fmt/format.h>
#include <orkestr/orkestr.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"
#include "binding_rows.hpp"

namespace orkestr::bench {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kPayloadBytes = 256U << 20U;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}
double mb_per_s(Clock::time_point start) { return kPayloadBytes / 1048576.0 / (ms_since(start) / 1000); }

Error wrong(std::string text) { return Error(ErrorCode::internal, "benchmark: " + std::move(text)); }

// A status of the C interface, and its error.
class Status {
 public:
  ~Status() { orkestr_error_free(error_); }
  orkestr_error** error() { return &error_; }
  Result<void> check(orkestr_status status) const {
    if (status == ORKESTR_OK) return {};
    return wrong(fmt::format("C: {}: {}", orkestr_status_name(status), orkestr_error_message(error_)));
  }

 private:
  orkestr_error* error_ = nullptr;
};

template <class Handle>
struct Free {
  void operator()(Handle* handle) const {
    if constexpr (std::is_same_v<Handle, orkestr_client>) orkestr_client_free(handle);
    if constexpr (std::is_same_v<Handle, orkestr_sandbox>) orkestr_sandbox_free(handle);
    if constexpr (std::is_same_v<Handle, orkestr_stream>) orkestr_stream_free(handle);
    if constexpr (std::is_same_v<Handle, orkestr_value>) orkestr_value_free(handle);
  }
};
template <class Handle>
using Owned = std::unique_ptr<Handle, Free<Handle>>;

Result<double> exec_in_c(orkestr_sandbox* sandbox) {
  Status status;
  orkestr_value* value = nullptr;
  const auto start = Clock::now();
  ORKESTR_CHECK(status.check(
      orkestr_await(orkestr_sandbox_exec(sandbox, "true", nullptr), ORKESTR_FOREVER, &value, status.error())));
  const std::int64_t exit_code = orkestr_value_integer(value, "exit_code");
  orkestr_value_free(value);
  const double took = ms_since(start);
  return exit_code == 0 ? Result<double>(took) : wrong("true failed");
}

Result<double> upload(orkestr_sandbox* sandbox, const std::string& payload) {
  Status status;
  orkestr_stream* opened = nullptr;
  const auto start = Clock::now();
  ORKESTR_CHECK(status.check(orkestr_files_write_stream(sandbox, "/workspace/blob", 0, &opened, status.error())));
  const Owned<orkestr_stream> stream(opened);
  for (std::size_t at = 0, written = 0; at < payload.size(); at += written) {
    ORKESTR_CHECK(status.check(orkestr_stream_write(opened, payload.data() + at, payload.size() - at, ORKESTR_FOREVER,
                                                    &written, status.error())));
  }
  ORKESTR_CHECK(status.check(orkestr_stream_finish(opened, ORKESTR_FOREVER, status.error())));
  return mb_per_s(start);
}

Result<void> pour(orkestr_sandbox* sandbox, std::size_t mib) {
  Status status;
  orkestr_stream* opened = nullptr;
  orkestr_exec_options patient = ORKESTR_EXEC_OPTIONS_INIT;
  patient.timeout_ms = 600'000;
  const std::string command = fmt::format("head -c {}M /dev/zero", mib);
  ORKESTR_CHECK(status.check(orkestr_sandbox_exec_stream(sandbox, command.c_str(), &patient, &opened, status.error())));
  const Owned<orkestr_stream> stream(opened);
  std::size_t size = 0;
  while (true) {
    orkestr_value* piece = nullptr;
    const orkestr_status next = orkestr_stream_next(opened, ORKESTR_FOREVER, &piece, status.error());
    if (next == ORKESTR_END) break;
    ORKESTR_CHECK(status.check(next));
    std::size_t length = 0;
    orkestr_value_bytes(piece, "data", &length);
    size += length;
    orkestr_value_free(piece);
  }
  return size == mib << 20U ? Result<void>() : wrong(fmt::format("{} bytes of {} MiB came through C", size, mib));
}

// All of a stream that was opened at `start`, whose bytes have this digest.
Result<double> pull(Clock::time_point start, orkestr_stream* opened, const std::string& digest, std::string& back) {
  const Owned<orkestr_stream> stream(opened);
  Status status;
  back.clear();
  while (true) {
    orkestr_value* piece = nullptr;
    const orkestr_status next = orkestr_stream_next(opened, ORKESTR_FOREVER, &piece, status.error());
    if (next == ORKESTR_END) break;
    ORKESTR_CHECK(status.check(next));
    std::size_t length = 0;
    const char* data = orkestr_value_bytes(piece, "data", &length);
    back.append(data, length);
    orkestr_value_free(piece);
  }
  const double rate = mb_per_s(start);
  if (base::sha256_hex(back) != digest) return wrong(fmt::format("the {} bytes through C differ", back.size()));
  return rate;
}

}  // namespace

Result<void> measure_capi(const Plan& plan, const Sandbox& sandbox, Report& report) {
  Status status;
  orkestr_client* opened_client = nullptr;
  orkestr_sandbox* in_c = nullptr;
  ORKESTR_CHECK(status.check(orkestr_client_open(nullptr, &opened_client, status.error())));
  const Owned<orkestr_client> client(opened_client);
  ORKESTR_CHECK(status.check(orkestr_await_sandbox(orkestr_sandbox_get(opened_client, sandbox.id().c_str()),
                                                   ORKESTR_FOREVER, &in_c, status.error())));
  const Owned<orkestr_sandbox> owned(in_c);

  // First, before this process has held anything large.
  if (plan.wants("capi_stdout_memory")) {
    fmt::print(stderr, "capi_stdout_memory (1 run)\n");
    ORKESTR_TRY(const double growth, memory_growth([&](std::size_t mib) { return pour(in_c, mib); }));
    report.rows.push_back({"capi_stdout_memory", "MiB", Better::lower, {growth}, 32, 8});
  }

  Row exec{"capi_exec", "x C++", Better::lower, {}, 1.05, 1.02};
  for (int i = 0; plan.wants("capi_exec") && i < plan.latency_runs; ++i) {
    ORKESTR_TRY(const double ratio, exec_ratio(sandbox, [&] { return exec_in_c(in_c); }));
    exec.samples.push_back(ratio);
  }
  if (!exec.samples.empty()) report.rows.push_back(std::move(exec));
  if (!plan.wants("capi_upload") && !plan.wants("capi_download") && !plan.wants("capi_stdout")) return {};

  const std::string payload = base::random_bytes(kPayloadBytes);
  const std::string digest = base::sha256_hex(payload);
  Row up{"capi_upload", "MiB/s", Better::higher, {}, 150, 250};
  Row down{"capi_download", "MiB/s", Better::higher, {}, 200, 400};
  Row out{"capi_stdout", "MiB/s", Better::higher, {}, 100, 300};
  std::string back;
  back.reserve(kPayloadBytes);
  for (int i = 0; i < plan.throughput_runs; ++i) {
    ORKESTR_TRY(const double upload_rate, upload(in_c, payload));
    up.samples.push_back(upload_rate);
    orkestr_stream* stream = nullptr;
    auto start = Clock::now();
    ORKESTR_CHECK(status.check(orkestr_files_read_stream(in_c, "/workspace/blob", &stream, status.error())));
    ORKESTR_TRY(const double download_rate, pull(start, stream, digest, back));
    down.samples.push_back(download_rate);
    start = Clock::now();
    ORKESTR_CHECK(
        status.check(orkestr_sandbox_exec_stream(in_c, "cat /workspace/blob", nullptr, &stream, status.error())));
    ORKESTR_TRY(const double stdout_rate, pull(start, stream, digest, back));
    out.samples.push_back(stdout_rate);
  }
  for (Row* row : {&up, &down, &out}) report.rows.push_back(std::move(*row));
  return {};
}

}  // namespace orkestr::bench
