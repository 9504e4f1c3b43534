#include <doctest/doctest.h>
#include <fmt/format.h>

#include "image/apt_sources.hpp"
#include "image/recipe.hpp"

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
  REQUIRE(python->maven.size() == 1);
  CHECK(python->maven[0].coordinates() == "org.bytedeco:cpython:3.12.1-1.5.10:jar:linux-x86_64");
  CHECK(python->maven[0].repository_path() ==
        "org/bytedeco/cpython/3.12.1-1.5.10/cpython-3.12.1-1.5.10-linux-x86_64.jar");
  CHECK(contains(find_recipe("nope").error().message(), "python-3.12-bare"));
}

TEST_CASE("a recipe that is wrong says where") {
  const std::string sha(64, 'a');
  CHECK(refusal(with_parts("")) == "accepted");
  CHECK(refusal(maven("g:a:1", sha, R"([{"from":"a","to":"/b"}])")) == "accepted");
  CHECK(contains(refusal("{"), "text"));
  CHECK(contains(refusal(R"({"name":"x"})"), "parts"));
  CHECK(contains(refusal(R"({"name":"../x","parts":[]})"), "name"));
  CHECK(contains(refusal(R"({"name":"x","stepps":[]})"), "'stepps'"));
  CHECK(contains(refusal(with_parts(R"(,{"source":"npm"})")), "part 2"));
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
