// The remote backend against the test service on loopback: what it adds to plain libcurl, throughput with flat memory,
// many streams, calls on one connection; and the published Python client in the same run, when its interpreter is
// given.
//
//   orkestr-bench-remote [--published PYTHON] [--json FILE]
#include <curl/curl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "orkestr/orkestr.hpp"
#include "support/service/service.hpp"

namespace {

using namespace orkestr;
using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double median_ms(int count, const std::function<void()>& work) {
  for (int i = 0; i < count / 10 + 1; ++i) work();
  std::vector<double> all;
  for (int i = 0; i < count; ++i) all.push_back(1000 * seconds_of(work));
  std::nth_element(all.begin(), all.begin() + count / 2, all.end());
  return all[static_cast<std::size_t>(count) / 2];
}

long memory_mb() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

std::size_t append(char* data, std::size_t size, std::size_t count, void* to) {
  static_cast<std::string*>(to)->append(data, size * count);
  return size * count;
}

// As the rows of orkestr-bench: {"key": "remote_upload", "median": …, "n": 1, "unit": "MB/s"}.
std::vector<std::string> json_rows;

void row(const char* name, double value, const char* unit) {
  fmt::print("{:<28} {:>10.2f} {}\n", name, value, unit);
  std::string key = std::string("remote_") + name;
  std::replace(key.begin(), key.end(), ' ', '_');
  key.erase(std::remove(key.begin(), key.end(), ','), key.end());
  json_rows.push_back(fmt::format(R"({{"key":"{}","median":{},"n":1,"unit":"{}"}})", key, value, unit));
}

// The same calls in Python; prints "name value" lines.
constexpr const char* kPython = R"(
import sys, time
from orkestr import Sandbox
s = Sandbox.get(sys.argv[1])
def median(count, work):
    for _ in range(count // 10 + 1): work()
    times = []
    for _ in range(count):
        t = time.perf_counter(); work(); times.append(time.perf_counter() - t)
    return sorted(times)[count // 2] * 1000
print("exec", median(200, lambda: s.exec("true")))
print("limits", 1000 / median(300, Sandbox.limits))
data = b"x" * (15 << 20)
s.files.write_bytes("/workspace/p", data)
t = time.perf_counter(); s.files.write_bytes("/workspace/p", data); print("up", 15 / (time.perf_counter() - t))
t = time.perf_counter(); s.files.read_bytes("/workspace/p"); print("down", 15 / (time.perf_counter() - t))
t = time.perf_counter()
for _ in s.exec_stream("head -c 33554432 /dev/zero"): pass
print("stdout", 32 / (time.perf_counter() - t))
)";

}  // namespace

int main(int argc, char** argv) {
  const char *published = nullptr, *json_file = nullptr;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--published") == 0) published = argv[i + 1];
    if (std::strcmp(argv[i], "--json") == 0) json_file = argv[i + 1];
  }
  for (const char* name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}) ::unsetenv(name);
  testing::TestService::Options options;
  options.record = false;
  options.disk_mb = 1200;
  testing::TestService service(options);
  ClientOptions client_options;
  client_options.backend = BackendKind::remote;
  client_options.base_url = service.base_url();
  client_options.api_key = options.key;
  const Client client = Client::open(client_options).value();
  CreateOptions create;
  create.template_name = "python-3.12";
  const Sandbox sandbox = Sandbox::create(create, client).value();

  CURL* easy = curl_easy_init();
  std::string answer;
  curl_slist* headers = curl_slist_append(nullptr, ("Authorization: Bearer " + options.key).c_str());
  headers = curl_slist_append(headers, "Content-Type: application/json");
  const std::string url = service.base_url() + "/v1/sandboxes/" + sandbox.id() + "/exec";
  const std::string body = R"({"command":"true","cwd":"/workspace","env":{},"timeout_seconds":60,"stream":false})";
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer);
  const double plain = median_ms(500, [&] {
    answer.clear();
    if (curl_easy_perform(easy) != CURLE_OK) std::abort();
  });
  const double ours = median_ms(500, [&] { sandbox.exec("true").value(); });
  curl_easy_cleanup(easy);
  curl_slist_free_all(headers);
  row("exec, plain libcurl", plain, "ms");
  row("exec", ours, "ms");
  row("exec over plain libcurl", ours / plain, "x");

  const double limits = median_ms(1000, [&] { Sandbox::limits(client).value(); });
  row("calls on one connection", 1000 / limits, "calls/s");

  constexpr std::size_t kMb = 256;
  const std::string piece(1U << 20U, 'r');
  const long before = memory_mb();
  row("upload, length unknown", kMb / seconds_of([&] {
                                  auto writer = sandbox.files().write_stream("/workspace/big").value();
                                  for (std::size_t i = 0; i < kMb; ++i) writer.write(piece).value();
                                  writer.finish().value();
                                }),
      "MB/s");
  row("download", kMb / seconds_of([&] {
                    auto reader = sandbox.files().read_stream("/workspace/big").value();
                    std::size_t total = 0;
                    for (std::string part = reader.read().value(); !part.empty(); part = reader.read().value())
                      total += part.size();
                    if (total != kMb << 20U) std::abort();
                  }),
      "MB/s");
  row("stdout", kMb / seconds_of([&] {
                  auto stream = sandbox.exec_stream("cat /workspace/big").value();
                  std::size_t total = 0;
                  while (auto chunk = stream.next().value()) total += chunk->data.size();
                  if (total != kMb << 20U) std::abort();
                }),
      "MB/s");
  row("memory these added", static_cast<double>(memory_mb() - before), "MB (service included)");
  const std::string whole(kMb << 20U, 'w');
  row("upload", kMb / seconds_of([&] { sandbox.files().write("/workspace/big", whole).value(); }), "MB/s");

  row("200 streams at once", 1000 * seconds_of([&] {
                               std::vector<ExecStream> streams;
                               for (int i = 0; i < 200; ++i)
                                 streams.push_back(sandbox.exec_stream("echo begun; sleep 1; echo done").value());
                               for (ExecStream& stream : streams) {
                                 std::string text;
                                 while (auto chunk = stream.next().value()) text += chunk->data;
                                 if (text != "begun\ndone\n") std::abort();
                               }
                             }),
      "ms");

  if (published != nullptr) {
    const std::string command =
        fmt::format("ORKESTR_API_KEY={} ORKESTR_BASE_URL={} {} -c '{}' {} | sed 's/^/published client: /'", options.key,
                    service.base_url(), published, kPython, sandbox.id());
    if (std::system(command.c_str()) != 0) return 1;
    std::fflush(stdout);
  }
  static_cast<void>(sandbox.terminate());
  if (json_file != nullptr) {
    std::ofstream file(json_file);
    file << fmt::format("[{}]\n", fmt::join(json_rows, ","));
    if (!file.flush()) return 1;
  }
  return 0;
}
