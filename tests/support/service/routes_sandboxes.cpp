// Sandboxes, their life, limits and snapshots.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "support/service/routes_common.hpp"

namespace orkestr::testing {

using Clock = std::chrono::system_clock;
using std::chrono::duration_cast;
using std::chrono::milliseconds;

namespace {

constexpr std::array<const char*, 6> kTemplates = {"python-3.12", "python-3.12-bare", "node-22",
                                                   "debian-12",   "ubuntu-24.04",     "code-interpreter"};

milliseconds seconds(double value) { return milliseconds(static_cast<std::int64_t>(value * 1000)); }

json::value or_null(const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(text); }

}  // namespace

json::object Routes::to_json(const ServedSandbox& sandbox) {
  json::object metadata;
  for (const auto& [key, value] : sandbox.metadata) metadata[key] = value;
  return {{"id", sandbox.id},
          {"status", sandbox.status},
          {"template", sandbox.template_name},
          {"network", sandbox.network},
          {"cpu", sandbox.cpu},
          {"memory_mb", sandbox.memory_mb},
          {"region", or_null(sandbox.region)},
          {"created_at", time_text(sandbox.created, 6, false)},
          {"expires_at", time_text(sandbox.expires, 3, true)},
          {"on_timeout", sandbox.on_timeout},
          {"auto_resume", sandbox.auto_resume},
          {"preview_auth", sandbox.preview_auth},
          {"preview_auth_token", sandbox.preview_auth ? json::value("token") : json::value(nullptr)},
          {"paused_expires_at", nullptr},
          {"node_id", "node-1"},
          {"metadata", metadata},
          {"volume", or_null(sandbox.volume)},
          {"preview_host_base", "preview.test"},
          {"end_reason", or_null(sandbox.end_reason)},
          {"of_a_later_version", {{"nested", json::array{1, 2}}}}};
}

void Routes::create(const Request& request, Answer& answer) {
  const json::object body = parse_body(request);
  auto sandbox = std::make_shared<ServedSandbox>();
  std::shared_ptr<Snapshot> source;
  if (body.contains("snapshot")) {
    const std::string id = needed_text(body, "snapshot");
    std::lock_guard lock(mutex_);
    for (const auto& one : snapshots_) {
      if (one->id == id) source = one;
    }
    if (!source) throw Refusal{404, "not_found", "no snapshot " + id};
    sandbox->template_name = source->template_name;
    sandbox->memory_mb = source->memory_mb;
    sandbox->cpu = source->cpu;
    sandbox->network = "off";
  } else {
    sandbox->template_name = needed_text(body, "template");
    sandbox->size = needed_text(body, "size");
    sandbox->network = needed_text(body, "network");
    // (Its own templates, and those of a customer, by their ids.)
    const bool known = sandbox->template_name.compare(0, 5, "tmpl_") == 0 ||
                       std::any_of(kTemplates.begin(), kTemplates.end(),
                                   [&](const char* name) { return sandbox->template_name == name; });
    if (!known) throw Refusal{404, "template_not_found", "there is no template " + sandbox->template_name};
    const bool medium = sandbox->size == "medium", large = sandbox->size == "large";
    if (!medium && !large && sandbox->size != "small") throw std::invalid_argument("size is not known");
    sandbox->cpu = number_of(body, "cpu", medium ? 2 : large ? 4 : 1);
    sandbox->memory_mb = static_cast<int>(number_of(body, "memory_mb", medium ? 4096 : large ? 8192 : 1024));
  }
  for (const char* name : {"auto_resume", "preview_auth", "env", "metadata"}) {
    if (!body.contains(name)) throw std::invalid_argument(std::string(name) + " is missing");
  }
  const double timeout = number_of(body, "timeout_seconds", -1);
  if (timeout < 10 || timeout > 3600) throw std::invalid_argument("timeout_seconds: 10 to 3600");
  sandbox->on_timeout = needed_text(body, "on_timeout");
  sandbox->auto_resume = body.at("auto_resume").as_bool();
  sandbox->preview_auth = body.at("preview_auth").as_bool();
  sandbox->env = map_of(body, "env");
  sandbox->metadata = map_of(body, "metadata");
  sandbox->region = text_of(body, "region");
  sandbox->volume = text_of(body, "volume");
  sandbox->id = new_id("sbx_");
  sandbox->guest = std::make_unique<Guest>(sandbox->id, sandbox->env, options_.disk_mb);
  if (source) {
    const std::string copy = "cp -a '" + source->directory + "/.' '" + sandbox->guest->path("/workspace") + "'";
    if (std::system(copy.c_str()) != 0) throw Refusal{500, "", "the snapshot could not be copied"};
  }
  sandbox->created = Clock::now();
  sandbox->expires = sandbox->created + seconds(timeout);
  std::lock_guard lock(mutex_);
  sandboxes_.push_back(sandbox);
  send(answer, 201, to_json(*sandbox));
}

void Routes::list(const Request& request, Answer& answer) {
  const auto option = [&](const char* name) {
    const auto at = request.query.find(name);
    return at == request.query.end() ? std::string() : at->second;
  };
  const std::size_t limit = option("limit").empty() ? 50 : std::stoul(option("limit"));
  if (limit < 1 || limit > 200) throw std::invalid_argument("limit: 1 to 200");
  std::lock_guard lock(mutex_);
  json::array page;
  std::string cursor;
  bool begun = option("cursor").empty();
  for (auto at = sandboxes_.rbegin(); at != sandboxes_.rend(); ++at) {
    const ServedSandbox& sandbox = **at;
    if (!begun) {
      begun = "after/" + sandbox.id == option("cursor");
      continue;
    }
    if (!option("status").empty() && option("status") != sandbox.status) continue;
    bool wanted = true;
    for (const auto& [name, value] : request.query) {
      if (name.compare(0, 9, "metadata[") != 0) continue;
      const auto found = sandbox.metadata.find(name.substr(9, name.size() - 10));
      wanted = wanted && found != sandbox.metadata.end() && found->second == value;
    }
    if (!wanted) continue;
    if (page.size() == limit) {
      cursor = "after/" + std::string(page.back().as_object().at("id").as_string());
      break;
    }
    page.push_back(to_json(sandbox));
  }
  send(answer, 200, {{"sandboxes", page}, {"next_cursor", or_null(cursor)}});
}

void Routes::limits(Answer& answer) {
  send(answer, 200,
       {{"plan", "test"},
        {"max_concurrent", 20.0},
        {"max_snapshots", 5},
        {"allowed_sizes", json::array{"small", "medium"}},
        {"sizes", json::array{{{"size", "small"}, {"cpu", 1}, {"memory_mb", 1024}, {"allowed", true}},
                              {{"size", "large"}, {"cpu", 4.0}, {"memory_mb", 8192}, {"allowed", false}}}},
        {"regions", json::array{{{"id", "eu"}, {"label", "Europe"}}}},
        {"custom_egress_allowlist", true},
        {"default_egress_domains", json::array{"packages.example"}},
        {"trial_credit_eur", 5},
        {"trial_credit_used_eur", 1.25},
        {"max_running_lifetime_seconds", nullptr},
        {"max_named_snapshots", 3},
        {"max_timeout_seconds", 3600},
        {"usage_resets_at", "2030-01-01T00:00:00Z"}});
}

void Routes::snapshots(const Request& request, Answer& answer, const std::string& id) {
  const auto to_object = [](const Snapshot& one) {
    return json::object{{"id", one.id},
                        {"status", "ready"},
                        {"template", one.template_name},
                        {"cpu", one.cpu},
                        {"memory_mb", one.memory_mb},
                        {"network", "off"},
                        {"name", or_null(one.name)},
                        {"source_sandbox_id", one.source},
                        {"size_mb", 12},
                        {"node_id", nullptr},
                        {"region", nullptr},
                        {"error_message", nullptr},
                        {"created_at", time_text(one.created, 0, true)},
                        {"ready_at", time_text(one.created, 3, true)}};
  };
  std::lock_guard lock(mutex_);
  if (id.empty()) {
    json::array all;
    for (const auto& one : snapshots_) all.push_back(to_object(*one));
    send(answer, 200, {{"snapshots", all}});
    return;
  }
  const auto found = std::find_if(snapshots_.begin(), snapshots_.end(), [&](const auto& one) { return one->id == id; });
  if (request.method == "DELETE") {
    if (found != snapshots_.end()) {
      static_cast<void>(!std::system(("rm -rf '" + (*found)->directory + "'").c_str()));
      snapshots_.erase(found);
    }
    answer.send(204, "");
    return;
  }
  if (found == snapshots_.end()) throw Refusal{404, "not_found", "no snapshot " + id};
  send(answer, 200, to_object(**found));
}

void Routes::sandbox_route(Call& call) {
  const std::string& method = call.request.method;
  if (call.rest.empty() && method == "GET") {
    std::lock_guard lock(mutex_);
    send(call.answer, 200, to_json(*call.sandbox));
    return;
  }
  if (call.rest.empty() && method == "DELETE") {
    end(*call.sandbox, "terminated");
    call.answer.send(204, "");
    return;
  }
  if (call.rest.empty()) throw Refusal{405, "", "no such method"};
  if (call.rest[0] == "exec") return exec(call);
  if (call.rest[0] == "commands") return commands(call);
  if (call.rest[0] == "code") return code(call);
  if (call.rest[0] == "files") return files(call);
  life_route(call, call.rest[0]);
}

void Routes::life_route(Call& call, const std::string& what) {
  ServedSandbox& sandbox = *call.sandbox;
  const json::object body = parse_body(call.request);
  if (what == "pause") {
    running(sandbox);
    std::lock_guard lock(mutex_);
    sandbox.guest->freeze();
    sandbox.status = "paused";
    sandbox.paused = Clock::now();
    send(call.answer, 200, {{"sandbox_id", sandbox.id}, {"status", "paused"}});
  } else if (what == "resume") {
    std::lock_guard lock(mutex_);
    if (sandbox.status != "paused") throw Refusal{409, "not_ready", "the sandbox is " + sandbox.status};
    sandbox.guest->thaw();
    sandbox.status = "running";
    sandbox.expires = Clock::now() + (sandbox.expires - sandbox.paused);
    send(call.answer, 200, to_json(sandbox));
  } else if (what == "timeout") {
    running(sandbox);
    const double timeout = number_of(body, "timeout_seconds", -1);
    if (timeout < 10 || timeout > 3600) throw std::invalid_argument("timeout_seconds: 10 to 3600");
    std::lock_guard lock(mutex_);
    sandbox.expires = Clock::now() + seconds(timeout);
    send(call.answer, 200, {{"expires_at", time_text(sandbox.expires, 6, true)}});
  } else if (what == "snapshots") {
    Guest& guest = running(sandbox);
    auto snapshot = std::make_shared<Snapshot>();
    std::string pattern = "/tmp/orkestr-snapshot-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw Refusal{500, "", "no directory"};
    snapshot->directory = pattern;
    const std::string copy = "cp -a '" + guest.path("/workspace") + "/.' '" + pattern + "'";
    if (std::system(copy.c_str()) != 0) throw Refusal{500, "", "the workspace could not be copied"};
    snapshot->id = new_id("snap_");
    snapshot->name = text_of(body, "name");
    snapshot->template_name = sandbox.template_name;
    snapshot->source = sandbox.id;
    snapshot->created = Clock::now();
    {
      std::lock_guard lock(mutex_);
      snapshots_.push_back(snapshot);
    }
    snapshots(Request{"GET", "", "", {}, {}, "", 0}, call.answer, snapshot->id);
  } else if (what == "metrics") {
    metrics(call);
  } else if (what == "host") {
    std::string ulid = sandbox.id.substr(4);
    std::transform(ulid.begin(), ulid.end(), ulid.begin(), [](char c) { return static_cast<char>(std::tolower(c)); });
    send(call.answer, 200, {{"host", call.request.query.at("port") + "-" + ulid + ".preview.test"}});
  } else {
    throw Refusal{404, "", "no such path"};
  }
}

void Routes::metrics(Call& call) {
  ServedSandbox& sandbox = *call.sandbox;
  std::lock_guard lock(mutex_);
  const bool live = sandbox.status == "running";
  const auto now = Clock::now();
  if (!live) sandbox.samples.clear();
  if (live && (sandbox.samples.empty() || now - sandbox.samples.back().time >= std::chrono::seconds(1))) {
    const GuestUsage usage = sandbox.guest->usage();
    const auto before = sandbox.samples.empty() ? sandbox.created : sandbox.samples.back().time;
    const double used = std::max(0.0, usage.cpu_seconds - sandbox.seen_cpu_seconds);
    const double span = std::max(0.1, std::chrono::duration<double>(now - before).count());
    sandbox.seen_cpu_seconds = usage.cpu_seconds;
    sandbox.cpu_seconds += used;
    sandbox.samples.push_back({now, 100 * used / span / sandbox.cpu, usage.memory_bytes});
  }
  const auto& query = call.request.query;
  const auto since =
      Clock::time_point() + std::chrono::seconds(query.count("since") > 0 ? std::stoll(query.at("since")) : 0);
  json::array samples;
  for (const auto& one : sandbox.samples) {
    if (one.time < since) continue;
    samples.push_back(
        {{"t", time_text(one.time, 6, true)}, {"cpu_percent", one.cpu_percent}, {"mem_bytes", one.memory_bytes}});
  }
  json::value cores = nullptr, percent = nullptr, bytes = nullptr, share = nullptr;
  const double limit = sandbox.memory_mb * 1048576.0;
  if (live) {
    const auto& last = sandbox.samples.back();
    cores = last.cpu_percent / 100 * sandbox.cpu;
    percent = last.cpu_percent;
    bytes = last.memory_bytes;
    share = 100 * static_cast<double>(last.memory_bytes) / limit;
  }
  const auto age = std::chrono::duration<double>(now - sandbox.created).count();
  send(call.answer, 200,
       {{"sandbox_id", sandbox.id},
        {"sandbox_status", sandbox.status},
        {"as_of", time_text(now, 3, true)},
        {"sample_interval_seconds", 1},
        {"window_seconds", 60},
        {"cpu", {{"cores", sandbox.cpu}, {"usage_cores", cores}, {"usage_percent", percent}}},
        {"memory", {{"limit_bytes", limit}, {"usage_bytes", bytes}, {"usage_percent", share}}},
        {"lifetime", {{"cpu_seconds", sandbox.cpu_seconds}, {"gb_seconds", age * sandbox.memory_mb / 1024}}},
        {"samples", samples}});
}

}  // namespace orkestr::testing
