// The remote backend against the test service on loopback: what it adds to plain libcurl, throughput with flat memory,
// many streams, calls on one connection; and the same script through the published Python client and through ours.
//
//   orkestr-bench-remote --published PYTHON --python PYTHON --package DIR --script remote_client.py [--json FILE]
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

void row(const std::string& name, double value, const std::string& unit) {
  fmt::print("{:<30} {:>10.2f} {}\n", name, value, unit);
  std::string key = "remote_" + name;
  std::replace(key.begin(), key.end(), ' ', '_');
  key.erase(std::remove(key.begin(), key.end(), ','), key.end());
  json_rows.push_back(fmt::format(R"({{"key":"{}","median":{},"n":1,"unit":"{}"}})", key, value, unit));
}

struct Measured {
  std::string key;
  double value;
  std::string unit;
};

Measured row_of(const std::string& command) {
  FILE* output = ::popen(command.c_str(), "re");
  char key[32], unit[32];
  double value = 0;
  const bool read = output != nullptr && std::fscanf(output, "%31s %lf %31s", key, &value, unit) == 3;
  if (output == nullptr || ::pclose(output) != 0 || !read) {
    fmt::print(stderr, "this failed: {}\n", command);
    std::exit(1);
  }
  return {key, value, unit};
}

}  // namespace

int main(int argc, char** argv) {
  std::string published, python, package, script, json_file;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--published") == 0) published = argv[i + 1];
    if (std::strcmp(argv[i], "--python") == 0) python = argv[i + 1];
    if (std::strcmp(argv[i], "--package") == 0) package = argv[i + 1];
    if (std::strcmp(argv[i], "--script") == 0) script = argv[i + 1];
    if (std::strcmp(argv[i], "--json") == 0) json_file = argv[i + 1];
  }
  if (published.empty() || python.empty() || package.empty() || script.empty()) {
    fmt::print(stderr, "usage: {} --published PYTHON --python PYTHON --package DIR --script FILE [--json FILE]\n",
               argv[0]);
    return 2;
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
  // Each in a sandbox of its own, before this process has grown.
  ::setenv("ORKESTR_API_KEY", options.key.c_str(), 1);
  ::setenv("ORKESTR_BASE_URL", service.base_url().c_str(), 1);
  const auto in_python = [&](const std::string& interpreter, const char* key, const std::string& folder) {
    const Sandbox own = Sandbox::create(create, client).value();
    Measured measured = row_of(fmt::format("{} {} {} {} {}", interpreter, script, own.id(), key, folder));
    static_cast<void>(own.terminate());
    return measured;
  };
  for (const char* key :
       {"exec", "calls", "write_small", "read_small", "write_big", "read_big", "stdout_big", "streams_200"}) {
    // In turns, because the service grows older with each.
    constexpr std::size_t kRounds = 5;
    std::vector<double> mine, theirs;
    std::string unit;
    for (std::size_t i = 0; i < kRounds; ++i) {
      theirs.push_back(in_python(published, key, "").value);
      Measured measured = in_python(python, key, package);
      mine.push_back(measured.value);
      unit = measured.unit;
    }
    std::sort(mine.begin(), mine.end());
    std::sort(theirs.begin(), theirs.end());
    const double my = mine[kRounds / 2], other = theirs[kRounds / 2];
    row(std::string("python ") + key, my, unit);
    row(std::string("published ") + key, other, unit);
    row(std::string(key) + " times as fast", unit == "ms" ? other / my : my / other, "x");
  }

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

  static_cast<void>(sandbox.terminate());
  if (!json_file.empty()) {
    std::ofstream file(json_file);
    file << fmt::format("[{}]\n", fmt::join(json_rows, ","));
    if (!file.flush()) return 1;
  }
  return 0;
}
