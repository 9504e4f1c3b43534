// A service that speaks the REST dialect of docs/REST.md, for tests: its sandboxes are directories and processes of
// this machine, in namespaces of their own (guest.hpp). Written from the description alone; shares no code with
// src/remote.
//
// One thread per connection, blocking calls: simple, and good for some hundred connections. Faults are injected into
// answers on their way out. Every request is recorded.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace orkestr::testing {

struct RecordedRequest {
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  int connection = 0;  // the how manieth it came over
};

// What happens to the answer of a request whose method and target match. The first fault that matches counts.
struct Fault {
  std::string method;              // empty: any
  std::string target;              // a part of the target; empty: any
  int times = 1;                   // -1: always
  int delay_ms = 0;                // before anything is sent
  std::optional<std::string> raw;  // sent instead of the answer, byte by byte as it is, and then the connection closes
  bool unanswered = false;         // the connection closes without a byte; the request was carried out
  std::int64_t cut_at = -1;        // the connection closes after so many bytes
  int byte_pause_ms = 0;           // one byte at a time, with this pause
  bool endless = false;            // a body that never ends
  bool endless_line = false;       // likewise, as one line of an event stream
  bool comments = false;  // behind `raw`, comments of an event stream, 20 KiB a second, as long as they are taken
};

class TestService {
 public:
  struct Options {
    int port = 0;      // 0: any
    bool tls = false;  // with a certificate of a private authority, see ca_file()
    std::string key = "test-key";
    std::string prefix;  // of all paths
    bool record = true;
    std::uint64_t disk_mb = 640;  // of each sandbox, in memory
  };
  explicit TestService(Options options);
  TestService() : TestService(Options()) {}
  ~TestService();
  TestService(const TestService&) = delete;
  TestService& operator=(const TestService&) = delete;

  int port() const;
  std::string base_url() const;
  std::string ca_file() const;  // PEM; with tls
  void inject(Fault fault);
  void clear();  // faults and records
  std::vector<RecordedRequest> requests() const;
  int connections() const;  // accepted so far
  int open_connections() const;
  void close_connections();  // all that are open, at once

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace orkestr::testing
