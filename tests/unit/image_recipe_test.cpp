#include <doctest/doctest.h>
#include <fmt/format.h>

#include "image/apt_sources.hpp"
#include "image/fetch.hpp"
#include "image/recipe.hpp"
#include "image/rootfs.hpp"

using namespace orkestr;
using namespace orkestr::image;

namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

std::string refusal(std::string_view json) {
  auto recipe = parse_recipe(json);
  if (recipe) return "accepted";
  CHECK(recipe.error().code() == ErrorCode::invalid_argument);
  return recipe.error().message();
}

constexpr std::string_view kDebian = R"({"source":"debian","suite":"bookworm","packages":["bash"]})";

std::string with_parts(std::string_view more) { return fmt::format(R"({{"name":"x","parts":[{}{}]}})", kDebian, more); }
std::string maven(std::string_view artifact, std::string_view sha256, std::string_view unpack) {
  return with_parts(
      fmt::format(R"(,{{"source":"maven","artifact":"{}","sha256":"{}","unpack":{}}})", artifact, sha256, unpack));
}

}  // namespace

TEST_CASE("every built-in recipe is one, under its own name") {
  REQUIRE_FALSE(builtin_recipes().empty());
  for (const auto& builtin : builtin_recipes()) {
    auto recipe = parse_recipe(builtin.json);
    REQUIRE_MESSAGE(recipe, recipe.error().message());
    CHECK(recipe->name == builtin.name);
    CHECK_FALSE(recipe->description.empty());
  }
  auto python = find_recipe("python-3.12-bare");
  REQUIRE(python);
  const auto* maven = std::get_if<MavenPart>(&python->actions.at(1));
  REQUIRE(maven != nullptr);
  CHECK(maven->coordinates() == "org.bytedeco:cpython:3.12.1-1.5.10:jar:linux-x86_64");
  CHECK(maven->repository_path() == "org/bytedeco/cpython/3.12.1-1.5.10/cpython-3.12.1-1.5.10-linux-x86_64.jar");
  CHECK(contains(find_recipe("nope").error().message(), "python-3.12-bare"));
}

TEST_CASE("a recipe with a base does what the base does, and then its own") {
  auto bare = find_recipe("python-3.12-bare");
  auto full = find_recipe("python-3.12");
  REQUIRE(bare);
  REQUIRE(full);
  REQUIRE(full->actions.size() > bare->actions.size());
  for (std::size_t i = 0; i < bare->actions.size(); ++i) {
    CHECK(full->actions[i].index() == bare->actions[i].index());
  }
  const auto* pip = std::get_if<PipPart>(&full->actions[bare->actions.size()]);
  REQUIRE(pip != nullptr);
  CHECK(pip->packages.size() >= 13);
  for (const auto& package : pip->packages) CHECK(package.sha256.size() == 64);
  CHECK(full->name == "python-3.12");

  // Its digest is of both texts.
  constexpr std::string_view kOne = R"({"name":"x","base":"python-3.12-bare"})";
  constexpr std::string_view kOther = R"({"name":"x","base":"debian-12"})";
  CHECK(parse_recipe(kOne)->digest == parse_recipe(kOne)->digest);
  CHECK(parse_recipe(kOne)->digest != parse_recipe(kOther)->digest);
  CHECK(parse_recipe(kOne)->digest != bare->digest);
  auto unknown = parse_recipe(R"({"name":"x","base":"python-3.11-bare"})");
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code() == ErrorCode::template_not_found);
  CHECK(contains(unknown.error().message(), "Did you mean python-3.12-bare"));
}

TEST_CASE("similar names: the nearest first, and none for what is nothing like them") {
  const std::vector<std::string> known = {"debian-12", "node-22", "python-3.12", "python-3.12-bare", "ubuntu-24.04"};
  auto first = [&](std::string_view name) {
    const auto near = similar_names(name, known);
    return near.empty() ? std::string() : near.front();
  };
  CHECK(first("python-3.12") == "python-3.12");
  CHECK(first("python-3.11") == "python-3.12");
  CHECK(first("python312") == "python-3.12");
  CHECK(first("python") == "python-3.12");  // the beginning of it
  CHECK(first("node") == "node-22");
  CHECK(first("nod-22") == "node-22");
  CHECK(first("debain-12") == "debian-12");
  CHECK(first("python-3.12-bar") == "python-3.12-bare");
  CHECK(similar_names("python-3.12-bar", known).size() == 2);
  CHECK(first("windows-11").empty());
  CHECK(first("").empty());
  CHECK(first("x").empty());
  CHECK(similar_names(std::string(1U << 20U, 'p'), known).empty());
}

TEST_CASE("a wheel is recognised by name and version, in every spelling of the name") {
  const PipPackage package{"scikit-learn", "1.9.1", ""};
  CHECK(is_wheel_of("scikit_learn-1.9.1-cp312-cp312-manylinux_2_28_x86_64.whl", package));
  CHECK(is_wheel_of("Scikit.Learn-1.9.1-py3-none-any.whl", package));
  CHECK_FALSE(is_wheel_of("scikit_learn-1.9.10-py3-none-any.whl", package));
  CHECK_FALSE(is_wheel_of("scikit_learn_extra-1.9.1-py3-none-any.whl", package));
  CHECK_FALSE(is_wheel_of("scikit_learn-1.9.1.tar.gz", package));
  CHECK_FALSE(is_wheel_of("", package));
  CHECK(NpmPart{"npm", "10.9.9", "", {}}.file_name() == "npm-10.9.9.tgz");
  CHECK(NpmPart{"@scope/name", "1.0.0", "", {}}.file_name() == "scope-name-1.0.0.tgz");
}

TEST_CASE("what dpkg has installed, from its own list") {
  const auto packages = installed_packages(
      "Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2+b2\nDescription: shell\n Version: 9\n\n"
      "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
      "Package: last\nStatus: install ok installed\nVersion: 2");
  REQUIRE(packages.size() == 2);
  CHECK(packages[0].name == "bash");
  CHECK(packages[0].version == "5.2.15-2+b2");
  CHECK(packages[1].name == "last");
  CHECK(installed_packages("").empty());
}

TEST_CASE("the address of a mirror loses user and password") {
  CHECK(without_credentials("https://user:pw@mirror.example.org/debian") == "https://mirror.example.org/debian");
  CHECK(without_credentials("https://us%40er:p@w@mirror.example.org:8443") == "https://mirror.example.org:8443");
  CHECK(without_credentials("http://mirror.example.org/a@b") == "http://mirror.example.org/a@b");
  CHECK(without_credentials("file:/srv/mirror") == "file:/srv/mirror");
}

TEST_CASE("a recipe that is wrong says where") {
  const std::string sha(64, 'a');
  CHECK(refusal(with_parts("")) == "accepted");
  CHECK(refusal(maven("g:a:1", sha, R"([{"from":"a","to":"/b"}])")) == "accepted");
  CHECK(contains(refusal("{"), "text"));
  CHECK(contains(refusal(R"({"name":"x"})"), "parts"));
  CHECK(contains(refusal(R"({"name":"../x","parts":[]})"), "name"));
  CHECK(contains(refusal(R"({"name":"x","stepps":[]})"), "'stepps'"));
  CHECK(contains(refusal(with_parts(R"(,{"source":"gem"})")), "part 2"));
  CHECK(contains(refusal(with_parts("," + std::string(kDebian))), "part 2"));  // a second root
  CHECK(contains(refusal(R"({"name":"x","parts":[{"source":"npm"}]})"), "part 1"));
  CHECK(contains(refusal(with_parts(R"(,{"source":"npm","package":"a","version":"1","unpack":["a"]})")),
                 "unpack[0]: must"));
  const std::string unpack = R"("unpack":[{"from":"a","to":"/b"}])";
  auto npm = [&](std::string_view members) {
    return refusal(with_parts(fmt::format(R"(,{{"source":"npm",{},{}}})", members, unpack)));
  };
  CHECK(npm(R"("package":"npm","version":"10.9.9")") == "accepted");
  CHECK(npm(R"("package":"@a/b","version":"1")") == "accepted");
  CHECK(contains(npm(R"("package":"npm")"), "version"));
  CHECK(contains(npm(R"("package":"../npm","version":"1")"), "package"));
  CHECK(contains(npm(R"("package":"@../b","version":"1")"), "package"));
  CHECK(contains(npm(R"("package":"-g","version":"1")"), "package"));
  CHECK(contains(npm(R"("package":"npm","version":"1","sha256":"12")"), "sha256"));
  CHECK(contains(npm(R"("package":"npm","version":"1","integrity":"x")"), "'integrity'"));
  auto pip = [&](std::string_view packages) {
    return refusal(with_parts(fmt::format(R"(,{{"source":"pip","python":"3.12","packages":{}}})", packages)));
  };
  CHECK(pip(R"([{"name":"numpy","version":"2.5.5"}])") == "accepted");
  CHECK(contains(pip(R"([{"name":"numpy"}])"), "version"));
  CHECK(contains(pip(R"([{"name":"--index-url","version":"1"}])"), "name"));
  CHECK(contains(pip(R"([{"name":"numpy","version":"2; rm"}])"), "version"));
  CHECK(contains(pip(R"(["numpy"])"), "part 2: packages[0]: must be an object; its members are name, version, sha256"));
  CHECK(contains(pip(R"([{"name":"a","version":"1"},{"name":"b"}])"), "packages[1]: 'version'"));
  CHECK(contains(pip("[]"), "packages"));
  CHECK(contains(refusal(R"({"name":"x","parts":[{"source":"container","image":"a"}]})"), "instead"));
  CHECK(contains(refusal(R"({"name":"x","parts":[{"source":"debian","suite":"--evil","packages":["a"]}]})"), "suite"));
  CHECK(contains(refusal(R"({"name":"x","parts":[{"source":"debian","suite":"a","packages":["-o","x"]}]})"), "'-o'"));
  CHECK(contains(refusal(R"({"name":"x","parts":[{"source":"debian","suite":"a","packages":[]}]})"), "packages"));
  CHECK(contains(refusal(maven("g:a", sha, R"([{"from":"a","to":"/b"}])")), "artifact"));
  CHECK(contains(refusal(maven("g:a:../1", sha, R"([{"from":"a","to":"/b"}])")), "artifact"));
  CHECK(contains(refusal(maven("g:a:1", "abc", R"([{"from":"a","to":"/b"}])")), "sha256"));
  CHECK(contains(refusal(maven("g:a:1", sha, R"([{"from":"/a","to":"/b"}])")), "from"));
  CHECK(contains(refusal(maven("g:a:1", sha, R"([{"from":"a","to":"/b/../../c"}])")), "to"));
  CHECK(contains(refusal(maven("g:a:1", sha, "[]")), "unpack"));
  CHECK(contains(refusal(R"({"name":"x","parts":[)" + std::string(kDebian) + R"(],"steps":[{"name":"s"}]})"), "run"));
}

TEST_CASE("the host's apt sources reach mmdebstrap, as far as they are for the suite") {
  const auto list = parse_source_list(R"(# a comment
deb http://mirror.example/debian bookworm main contrib   # trailing
deb-src http://mirror.example/debian bookworm main
deb [ arch=amd64 signed-by=/usr/share/keyrings/k.gpg ] https://user:pw@mirror.example/security bookworm-security main
deb http://tools.example/apt tools main
deb http://docker.example bookworm stable
)");
  REQUIRE(list.size() == 4);
  const std::string selected = select_sources(list, "bookworm");
  CHECK(selected ==
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n\n"
        "Types: deb\nURIs: https://user:pw@mirror.example/security\nSuites: bookworm-security\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/k.gpg\n\n");
  CHECK(select_sources(list, "trixie").empty());
  CHECK(select_sources(list, "bookworm-security") ==
        "Types: deb\nURIs: https://user:pw@mirror.example/security\nSuites: "
        "bookworm-security\nComponents: main\nSigned-By: /usr/share/keyrings/k.gpg\n\n");

  const auto stanzas = parse_deb822(R"(Types: deb deb-src
# a comment between
URIs: http://one.example/debian
 http://two.example/debian
Suites: bookworm bookworm-updates sid
Components: main non-free-firmware
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: http://off.example
Suites: bookworm
Components: main

types: deb-src
uris: http://source.example
suites: bookworm
components: main
)");
  REQUIRE(stanzas.size() == 2);
  CHECK(select_sources(stanzas, "bookworm") ==
        "Types: deb\nURIs: http://one.example/debian http://two.example/debian\nSuites: bookworm "
        "bookworm-updates\nComponents: main\n"
        "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n\n");
}
