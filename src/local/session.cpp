#include "local/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "base/file.hpp"
#include "base/try.hpp"
#include "local/call_stream.hpp"
#include "wire/message.hpp"

namespace orkestr::local {
namespace {

constexpr auto kFilePatience = std::chrono::milliseconds(60'000);
// A command may take its timeout, then the guest's grace for killing it, then the transfer of what it wrote.
constexpr auto kExecGrace = std::chrono::milliseconds(20'000);
constexpr auto kRecordPatience = std::chrono::minutes(10);
// What an answer may take here. An entry of a list takes more in memory than on the wire, where it may be ten bytes.
constexpr std::size_t kMaxListBytes = 64U << 20U;
constexpr std::size_t kMaxListEntries = 1'000'000;

TimePoint from_ms(std::int64_t ms) { return TimePoint(std::chrono::milliseconds(ms)); }
TimePoint from_ns(std::int64_t ns) {
  return TimePoint(std::chrono::duration_cast<TimePoint::duration>(std::chrono::nanoseconds(ns)));
}

CallRequest file_request(wire::Type type, std::string what, const wire::FileRequest& request) {
  CallRequest call;
  call.type = type;
  call.payload = request.encode();
  call.patience = {kFilePatience, true};
  call.what = std::move(what);
  return call;
}

wire::FileRequest path_request(const std::string& path) {
  wire::FileRequest request;
  request.path = path;
  return request;
}

// FileInfo messages, each behind a 32-bit length.
Result<std::vector<FileEntry>> decode_list(std::string_view bytes) {
  std::vector<FileEntry> entries;
  while (!bytes.empty()) {
    if (entries.size() == kMaxListEntries) {
      return Error(ErrorCode::internal, fmt::format("the list of files has more than {} entries", kMaxListEntries));
    }
    if (bytes.size() < 4) return Error(ErrorCode::connection, "the list of files ends in the middle of an entry");
    std::size_t length = 0;
    for (int i = 3; i >= 0; --i) length = length << 8U | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
    bytes.remove_prefix(4);
    if (length > bytes.size()) return Error(ErrorCode::connection, "the list of files ends in the middle of an entry");
    ORKESTR_TRY(auto info, wire::FileInfo::decode(bytes.substr(0, length)));
    bytes.remove_prefix(length);
    entries.push_back(
        {std::move(info.name), info.is_dir, info.size, static_cast<int>(info.mode & 07777), from_ns(info.modified_ns)});
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

}  // namespace

Result<SandboxInfo> to_info(const registry::Record& record) {
  SandboxInfo info;
  info.id = record.id;
  ORKESTR_TRY(info.status, parse_status(record.status));
  ORKESTR_TRY(info.network, parse_network(record.network));
  ORKESTR_TRY(info.on_timeout, parse_on_timeout(record.on_timeout));
  info.template_name = record.template_name;
  info.cpu = record.cpu;
  info.cpu_reason = record.cpu_reason;
  info.memory_mb = static_cast<int>(record.memory_mb);
  info.disk_mb = static_cast<int>(record.disk_mb);
  info.created_at = from_ms(record.created_at_ms);
  info.expires_at = from_ms(record.expires_at_ms);
  info.metadata = record.metadata;
  info.auto_resume = record.auto_resume;
  if (record.status == "paused" && record.paused_expires_at_ms != 0) {
    info.paused_expires_at = from_ms(record.paused_expires_at_ms);
  }
  info.backend = "local";
  info.end_reason = record.end_reason;
  info.accelerator = record.accelerator;
  info.accelerator_reason = record.accelerator_reason;
  info.isolation = record.isolation;
  info.jail = record.jail;
  return info;
}

LocalSession::LocalSession(std::shared_ptr<IoLoop> loop, std::shared_ptr<LinkTable> links, std::shared_ptr<Link> link)
    : loop_(std::move(loop)), links_(std::move(links)), link_(std::move(link)) {
  links_->add(link_);
}

LocalSession::~LocalSession() {
  if (loop_->forked()) {
    // The parent's thread may have been in the middle of it: left alone, its descriptors are closed through the ledger.
    static_cast<void>(*std::make_unique<std::shared_ptr<Link>>(std::move(link_)).release());
    static_cast<void>(*std::make_unique<std::shared_ptr<LinkTable>>(std::move(links_)).release());
    return;
  }
  // Refused once the client is closed: then shutting down lets go of it, or has, and what is left here is inert.
  // Moved, not copied: a copy here could be the last, and die beside the I/O thread.
  loop_->post([links = links_, link = std::move(link_)] { links->release(link); });
}

std::shared_ptr<Call> LocalSession::submit(CallRequest request) const {
  auto call = std::make_shared<Call>(*loop_, std::move(request));
  if (!loop_->post([link = link_, call] { link->submit(call); })) {
    call->fail(
        Error(ErrorCode::not_ready,
              call->request().what + ": the client was closed, or its thread could not start; open another one"));
  }
  return call;
}

CancelFunction LocalSession::ask_all(CallRequest request, Completion<Answer> done) const {
  auto call = submit(std::move(request));
  struct Progress {
    std::mutex mutex;
    std::string output;
    Completion<Answer> done;
  };
  auto progress = std::make_shared<Progress>();
  progress->done = std::move(done);
  call->on_ready([progress, weak = std::weak_ptr<Call>(call)] {
    auto self = weak.lock();
    if (!self) return;
    std::unique_lock lock(progress->mutex);
    while (auto outcome = self->take()) {
      if (!progress->done) continue;
      std::optional<Result<Answer>> answer;
      if (!*outcome) {
        answer.emplace(outcome->error());
      } else if ((*outcome)->kind == Call::Piece::Kind::end) {
        answer.emplace(Answer{std::move(progress->output), std::move((*outcome)->data)});
      } else {
        progress->output += (*outcome)->data;
        if (progress->output.size() > kMaxListBytes) {
          answer.emplace(Error(ErrorCode::internal, self->request().what + ": the answer is longer than 64 MiB"));
        }
      }
      if (!answer) continue;
      auto completion = std::exchange(progress->done, nullptr);
      const bool early = !self->finished();
      lock.unlock();
      completion(std::move(*answer));
      if (early) self->cancel();
      lock.lock();
    }
  });
  return [weak = std::weak_ptr<Call>(call)] {
    if (auto self = weak.lock()) self->cancel();
  };
}

CancelFunction LocalSession::ask(CallRequest request, Completion<std::string> done) const {
  return ask_all(std::move(request), [done = std::move(done)](Result<Answer> answer) {
    if (!answer) return done(answer.error());
    done(answer->output.empty() ? std::move(answer->result) : std::move(answer->output));
  });
}

CancelFunction LocalSession::ask_nothing(CallRequest request, Completion<void> done) const {
  return ask(std::move(request), [done = std::move(done)](Result<std::string> answer) {
    done(answer ? Result<void>() : Result<void>(answer.error()));
  });
}

// The record is always true (its locks are looked at), costs no round trip and works also when nobody answers.
CancelFunction LocalSession::inspect(Completion<SandboxInfo> done) {
  auto entry = registry::inspect(link_->sandboxes_dir(), link_->id());
  if (entry) {
    done(to_info(entry->record));
  } else {
    done(entry.error());
  }
  return [] {};
}

CancelFunction LocalSession::terminate(Completion<SandboxInfo> done) {
  auto shared = std::make_shared<Completion<SandboxInfo>>(std::move(done));
  const bool posted = loop_->post([link = link_, shared] {
    link->terminate([shared](Result<registry::Record> record) {
      if (!record) return (*shared)(record.error());
      (*shared)(to_info(*record));
    });
  });
  if (!posted) {
    (*shared)(Error(
        ErrorCode::not_ready,
        fmt::format("terminate sandbox {}: the client was closed, or its thread could not start; open another one",
                    link_->id())));
  }
  return [] {};  // the end of a sandbox is not taken back
}

CancelFunction LocalSession::ask_record(wire::Type type, std::string payload, std::string what,
                                        std::chrono::seconds patience, Completion<SandboxInfo> done) const {
  CallRequest call;
  call.type = type;
  call.payload = std::move(payload);
  call.patience = {patience, false};
  call.what = std::move(what);
  return ask(std::move(call), [done = std::move(done)](const Result<std::string>& answer) {
    if (!answer) return done(answer.error());
    auto message = wire::RecordMessage::decode(*answer);
    if (!message) return done(message.error());
    auto record = registry::Record::from_json(message->record);
    if (!record) return done(record.error());
    done(to_info(*record));
  });
}

CancelFunction LocalSession::pause(Completion<SandboxInfo> done) {
  // Whoever is told so finds it so: an operation that comes right after meets no supervisor on its way out.
  // (Of its record only what never changes: whether it is true need not be found out, which may take seconds.)
  const auto text = base::read_file(link_->sandboxes_dir() + "/" + link_->id() + "/" + registry::kRecordFile);
  const auto record = text ? registry::Record::from_json(*text) : Result<registry::Record>(text.error());
  const auto patience = kRecordPatience + (record ? record->transfer_time() : std::chrono::seconds(0));
  return ask_record(wire::Type::pause, {}, "pause sandbox " + link_->id(), patience,
                    [link = link_, done = std::move(done)](Result<SandboxInfo> info) {
                      if (!info) return done(std::move(info));
                      link->await_paused([done, info = std::move(*info)] { done(info); });
                    });
}

CancelFunction LocalSession::set_timeout(std::chrono::seconds timeout, Completion<SandboxInfo> done) {
  wire::TimeoutMessage message;
  message.seconds = static_cast<std::uint64_t>(timeout.count());
  return ask_record(wire::Type::set_timeout, message.encode(), "set_timeout", kRecordPatience, std::move(done));
}

std::unique_ptr<Stream> LocalSession::exec(CommandRequest request) {
  wire::ExecRequest message;
  message.argv = std::move(request.argv);
  message.cwd = std::move(request.cwd);
  message.env.assign(request.env.begin(), request.env.end());
  message.user = std::move(request.user);
  message.timeout_ms = static_cast<std::uint64_t>(request.timeout.count());
  message.stdin_open = request.stdin_open;
  message.tty = request.tty;
  message.cols = static_cast<std::uint64_t>(request.cols);
  message.rows = static_cast<std::uint64_t>(request.rows);
  CallRequest call;
  call.type = wire::Type::exec;
  call.payload = message.encode();
  call.has_input = request.stdin_open;
  call.patience = {request.timeout + kExecGrace, false};
  call.what = "exec";
  return std::make_unique<CallStream>(submit(std::move(call)));
}

std::unique_ptr<Stream> LocalSession::read_file(std::string path) {
  return std::make_unique<CallStream>(submit(file_request(wire::Type::file_read, "read " + path, path_request(path))));
}

std::unique_ptr<Stream> LocalSession::write_file(std::string path, int mode, std::optional<std::uint64_t>) {
  auto message = path_request(path);
  message.mode = static_cast<std::uint64_t>(mode);
  auto call = file_request(wire::Type::file_write, "write " + path, message);
  call.has_input = true;
  return std::make_unique<CallStream>(submit(std::move(call)));
}

CancelFunction LocalSession::list_files(std::string path, Completion<std::vector<FileEntry>> done) {
  return ask(file_request(wire::Type::file_list, "list " + path, path_request(path)),
             [done = std::move(done)](Result<std::string> bytes) {
               if (!bytes) return done(bytes.error());
               done(decode_list(*bytes));
             });
}

CancelFunction LocalSession::stat_file(std::string path, Completion<FileStat> done) {
  return ask(file_request(wire::Type::file_stat, "stat " + path, path_request(path)),
             [done = std::move(done)](Result<std::string> bytes) {
               if (!bytes) return done(bytes.error());
               auto info = wire::FileInfo::decode(*bytes);
               if (!info) return done(info.error());
               done(FileStat{info->exists, info->is_dir, info->size, static_cast<int>(info->mode & 07777),
                             from_ns(info->modified_ns)});
             });
}

CancelFunction LocalSession::remove_file(std::string path, Completion<void> done) {
  return ask_nothing(file_request(wire::Type::file_delete, "remove " + path, path_request(path)), std::move(done));
}

CancelFunction LocalSession::make_directory(std::string path, bool parents, Completion<void> done) {
  auto message = path_request(path);
  message.parents = parents;
  message.mode = 0755;
  return ask_nothing(file_request(wire::Type::file_mkdir, "make directory " + path, message), std::move(done));
}

CancelFunction LocalSession::move_file(std::string source, std::string destination, Completion<void> done) {
  auto message = path_request(source);
  message.destination = destination;
  return ask_nothing(file_request(wire::Type::file_move, fmt::format("move {} to {}", source, destination), message),
                     std::move(done));
}

}  // namespace orkestr::local
