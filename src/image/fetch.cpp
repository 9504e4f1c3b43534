#include "image/fetch.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <type_traits>

#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/system.hpp"
#include "base/try.hpp"

namespace orkestr::image {
namespace {

Result<FetchedFile> look_at(const std::string& path) {
  FetchedFile file{path, {}, 0};
  ORKESTR_TRY(file.sha256, base::sha256_file(path));
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return base::errno_error("look at " + path, errno);
  file.bytes = static_cast<std::uint64_t>(info.st_size);
  return file;
}

// The kept file when it has the content that the recipe names; else what `download` leaves at `path`.
Result<FetchedFile> fetch_file(const std::string& stage, const std::string& what, const std::string& path,
                               const std::string& sha256, const std::function<Result<std::string>()>& download) {
  if (!sha256.empty() && base::exists(path)) {
    ORKESTR_TRY(FetchedFile kept, look_at(path));
    if (kept.sha256 == sha256) return kept;
  }
  ::unlink(path.c_str());  // half a download would satisfy the client
  ORKESTR_TRY(const std::string output, download());
  auto file = look_at(path);
  if (!file) return build_error(stage, fmt::format("{}: {} was not fetched to {}", stage, what, path), output);
  if (sha256.empty() || file->sha256 == sha256) return file;
  return build_error(stage,
                     fmt::format("{}: {}: fetched a file whose SHA-256 is {}, the recipe wants {}. The mirror serves "
                                 "something else, or the download broke: check the mirror and try again.",
                                 stage, what, file->sha256, sha256),
                     output);
}

// PEP 503: runs of - _ . are one -, letters are small.
std::string normalised(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c != '-' && c != '_' && c != '.') {
      out.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    } else if (out.empty() || out.back() != '-') {
      out.push_back('-');
    }
  }
  return out;
}

// The kept wheel of the package: the one with the recipe's digest, or without one any.
Result<FetchedFile> kept_wheel(const std::string& stage, const std::string& directory, const PipPackage& package) {
  std::string seen;
  if (auto names = base::list_directory(directory)) {
    for (const auto& name : *names) {
      if (!is_wheel_of(name, package)) continue;
      ORKESTR_TRY(FetchedFile file, look_at(directory + "/" + name));
      if (package.sha256.empty() || file.sha256 == package.sha256) return file;
      seen = fmt::format("{} has SHA-256 {}", name, file.sha256);
    }
  }
  if (seen.empty()) seen = "there is no wheel of it";
  return build_error(
      stage, fmt::format("{}: {}=={}: {}, the recipe wants {}. The index serves something else, or the "
                         "download broke: check the index and try again.",
                         stage, package.name, package.version, seen, package.sha256.empty() ? "one" : package.sha256));
}

}  // namespace

std::string fetch_stage(const MavenPart& part) { return "fetch " + part.artifact; }
std::string fetch_stage(const NpmPart& part) { return "fetch " + part.package; }
std::string fetch_stage(const PipPart& part) { return fmt::format("fetch {} Python packages", part.packages.size()); }

Result<void> check_client(const RecipeAction& action) {
  Result<std::string> found = std::string();
  if (const auto* maven = std::get_if<MavenPart>(&action)) found = find_tool(fetch_stage(*maven), "mvn", "maven");
  if (const auto* npm = std::get_if<NpmPart>(&action)) found = find_tool(fetch_stage(*npm), "npm", "npm");
  if (const auto* pip = std::get_if<PipPart>(&action)) found = find_tool(fetch_stage(*pip), "pip3", "python3-pip");
  if (!found) return found.error();
  return {};
}

Result<FetchedFile> fetch(const MavenPart& part, const FetchContext& context) {
  const std::string stage = fetch_stage(part);
  const std::string repository = context.downloads + "/maven";
  return fetch_file(
      stage, part.coordinates(), repository + "/" + part.repository_path(), part.sha256, [&]() -> Result<std::string> {
        ORKESTR_TRY(const std::string mvn, find_tool(stage, "mvn", "maven"));
        ORKESTR_CHECK(base::make_directories(repository, 0755));
        // The person's settings.xml applies; only the local repository is ours, so that sudo leaves nothing in
        // anybody's home.
        ToolRun run{stage, {mvn, "--batch-mode", "-Dmaven.repo.local=" + repository}, context.work, {}, {}};
        run.argv.insert(run.argv.end(), {"org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get",
                                         "-Dartifact=" + part.coordinates(), "-Dtransitive=false"});
        run.advice =
            "Is the Maven repository reachable, and does it have this artifact? Mirrors and proxies are set "
            "in ~/.m2/settings.xml of the user who builds.";
        return run_tool(run, context.tools);
      });
}

Result<FetchedFile> fetch(const NpmPart& part, const FetchContext& context) {
  const std::string stage = fetch_stage(part);
  const std::string directory = context.downloads + "/npm";
  const std::string what = part.package + "@" + part.version;
  return fetch_file(stage, what, directory + "/" + part.file_name(), part.sha256, [&]() -> Result<std::string> {
    ORKESTR_TRY(const std::string npm, find_tool(stage, "npm", "npm"));
    ORKESTR_CHECK(base::make_directories(directory, 0755));
    ToolRun run{stage, {npm, "pack", what}, context.work, {}, {}};
    run.argv.insert(run.argv.end(), {"--pack-destination=" + directory, "--cache=" + context.work + "/npm-cache",
                                     "--ignore-scripts", "--no-update-notifier"});
    run.advice = "Is the npm registry reachable, and does it have this version? `npm ping` and `npm view " + what +
                 "` tell; registries and proxies are set in ~/.npmrc of the user who builds.";
    return run_tool(run, context.tools);
  });
}

Result<std::vector<FetchedFile>> fetch(const PipPart& part, const FetchContext& context) {
  const std::string stage = fetch_stage(part);
  const std::string directory = fmt::format("{}/pip/{}", context.downloads, part.python);
  ToolRun run{stage, {}, context.work, {}, {}};
  ORKESTR_TRY(const std::string pip, find_tool(stage, "pip3", "python3-pip"));
  run.argv = {pip, "download", "--disable-pip-version-check", "--no-cache-dir", "--progress-bar=off", "--no-deps"};
  run.argv.insert(run.argv.end(), {"--only-binary=:all:", "--implementation=cp", "--python-version=" + part.python,
                                   "--dest=" + directory});
  // Wheels for what the new root has, whatever the host is; a pip names only those platforms that it is told.
  for (int glibc = 36; glibc >= 17; --glibc) run.argv.push_back(fmt::format("--platform=manylinux_2_{}_x86_64", glibc));
  run.argv.emplace_back("--platform=manylinux2014_x86_64");
  const std::size_t options = run.argv.size();
  for (const auto& package : part.packages) {
    if (package.sha256.empty() || !kept_wheel(stage, directory, package)) {
      run.argv.push_back(fmt::format("{}=={}", package.name, package.version));
    }
  }
  if (run.argv.size() > options) {
    ORKESTR_CHECK(base::make_directories(directory, 0755));
    run.advice =
        "Is the package index reachable, and does it have these versions for this Python? `pip3 config list` "
        "shows which index pip asks; PIP_INDEX_URL, PIP_CERT and pip.conf of the user who builds apply.";
    ORKESTR_CHECK(run_tool(run, context.tools));
  }
  std::vector<FetchedFile> files;
  for (const auto& package : part.packages) {
    ORKESTR_TRY(auto file, kept_wheel(stage, directory, package));
    files.push_back(std::move(file));
  }
  return files;
}

bool is_wheel_of(std::string_view file_name, const PipPackage& package) {
  if (!file_name.ends_with(".whl")) return false;
  const auto first = file_name.find('-');
  if (first == file_name.npos) return false;
  const std::string_view rest = file_name.substr(first + 1);
  return normalised(file_name.substr(0, first)) == normalised(package.name) &&
         rest.substr(0, rest.find('-')) == package.version;
}

}  // namespace orkestr::image
