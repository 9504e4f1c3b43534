// The REST dialect over guests: what each route answers.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "support/service/guest.hpp"
#include "support/service/http_server.hpp"

namespace boost::json {
class object;
class value;
}  // namespace boost::json

namespace orkestr::testing {

struct ServedCommand {
  std::string id, line;
  std::chrono::system_clock::time_point started;
  std::mutex mutex;
  std::condition_variable changed;
  std::string log;
  int pid = 0;
  bool over = false, kill = false;
  GuestEnd end;
  std::thread thread;
};

struct ServedContext;  // of the code interpreter

struct ServedSandbox {
  std::string id, status = "running", template_name, size, network, on_timeout, region, volume, end_reason;
  bool auto_resume = false, preview_auth = false;
  std::map<std::string, std::string> metadata, env;
  double cpu = 1;
  int memory_mb = 1024;
  std::chrono::system_clock::time_point created, expires, paused;
  std::unique_ptr<Guest> guest;
  std::vector<std::shared_ptr<ServedCommand>> commands;
  std::vector<std::shared_ptr<ServedContext>> contexts;
  struct Sample {
    std::chrono::system_clock::time_point time;
    double cpu_percent = 0;
    std::uint64_t memory_bytes = 0;
  };
  std::vector<Sample> samples;  // one for each time they are asked for, a second apart at least
  double cpu_seconds = 0.01;    // of its life, and of it what the last sample saw
  double seen_cpu_seconds = 0;
};

class Routes {
 public:
  Routes(TestService& service, TestService::Options options);
  ~Routes();
  void answer(const Request& request, const HttpServer::Body& body, Answer& answer);
  void stop();

 private:
  struct Refusal;  // thrown: a status, a code and a detail
  using Sandbox = std::shared_ptr<ServedSandbox>;
  struct Call {
    const Request& request;
    Answer& answer;
    Sandbox sandbox;
    std::vector<std::string> rest;  // of the path, after the sandbox's id
  };

  void route(const Request& request, const HttpServer::Body& body, Answer& answer);
  void test_route(const Request& request, Answer& answer);
  void create(const Request& request, Answer& answer);
  void list(const Request& request, Answer& answer);
  void limits(Answer& answer);
  void snapshots(const Request& request, Answer& answer, const std::string& id);
  void volumes(const Request& request, Answer& answer, const std::vector<std::string>& rest);
  void webhooks(const Request& request, Answer& answer, const std::vector<std::string>& rest);
  void sandbox_route(Call& call);
  void life_route(Call& call, const std::string& what);
  void metrics(Call& call);
  void exec(Call& call);
  void stream_exec(Call& call, const GuestCommand& command);
  void commands(Call& call);
  void logs(Call& call, ServedCommand& command);
  void follow(Call& call, ServedCommand& command, std::size_t offset);
  void code(Call& call);
  void run_code(Call& call, Guest& guest);
  void contexts(Call& call, Guest& guest);
  std::shared_ptr<ServedContext> context_of(ServedSandbox& sandbox, const std::string& id);
  // Under the lock.
  std::shared_ptr<ServedContext> add_context(ServedSandbox& sandbox, const std::string& id, const std::string& cwd);
  void files(Call& call);
  void read_file(Call& call, const std::string& path);
  void batch(Call& call);
  void presign(Call& call, const std::string& method);
  void presigned(const Request& request, const HttpServer::Body& body, Answer& answer);
  void write_file(ServedSandbox& sandbox, const std::string& path, const std::string& content, int mode);

  boost::json::object to_json(const ServedSandbox& sandbox);
  boost::json::object to_json(ServedCommand& command);
  Sandbox find(const std::string& id);
  Guest& running(ServedSandbox& sandbox);
  void end(ServedSandbox& sandbox, const std::string& reason);
  void watch();
  std::string new_id(const std::string& prefix);

  TestService& service_;
  const TestService::Options options_;
  std::mutex mutex_;
  std::vector<Sandbox> sandboxes_;
  struct Snapshot;
  std::vector<std::shared_ptr<Snapshot>> snapshots_;
  struct Volume;
  std::vector<std::shared_ptr<Volume>> volumes_;
  struct Webhook;
  std::vector<std::shared_ptr<Webhook>> webhooks_;
  struct Presigned {
    Sandbox sandbox;
    std::string path, method;
    std::chrono::system_clock::time_point expires;
  };
  std::map<std::string, Presigned> presigned_;
  std::uint64_t counter_ = 0;
  bool stopping_ = false;
  std::condition_variable stopped_;
  std::thread watcher_;
};

}  // namespace orkestr::testing
