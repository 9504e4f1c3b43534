#include "orkestr/template.hpp"

#include "base/try.hpp"
#include "core/handles.hpp"
#include "core/submit.hpp"
#include "core/validate.hpp"

namespace orkestr {
namespace {

using BackendCall = Result<TemplateInfo> (Backend::*)(const std::string&, const TemplateBuildOptions&,
                                                      const std::stop_token&);

Operation<TemplateInfo> start(BackendCall call, std::string_view name, TemplateBuildOptions options,
                              const std::optional<Client>& client) {
  auto impl = core::client_of(client);
  if (!impl) return core::completed<TemplateInfo>(impl.error());
  return core::submit<TemplateInfo>([&](Completion<TemplateInfo> done) -> CancelFunction {
    return core::run_on_worker<TemplateInfo>(
        *impl,
        [impl = *impl, call, name = std::string(name), options = std::move(options)](const std::stop_token& stop) {
          return (impl->backend().*call)(name, options, stop);
        },
        std::move(done));
  });
}

}  // namespace

Result<TemplateInfo> Template::build(std::string_view name, TemplateBuildOptions options,
                                     std::optional<Client> client) {
  ORKESTR_TRY(const auto impl, core::client_of(client));
  return impl->backend().build_template(std::string(name), options, {});
}

Result<TemplateInfo> Template::prepare(std::string_view name, TemplateBuildOptions options,
                                       std::optional<Client> client) {
  ORKESTR_TRY(const auto impl, core::client_of(client));
  ORKESTR_CHECK(core::check_prepare(options));
  return impl->backend().prepare_template(std::string(name), options, {});
}

Operation<TemplateInfo> Template::build_async(std::string_view name, TemplateBuildOptions options,
                                              std::optional<Client> client) {
  return start(&Backend::build_template, name, std::move(options), client);
}

Operation<TemplateInfo> Template::prepare_async(std::string_view name, TemplateBuildOptions options,
                                                std::optional<Client> client) {
  if (auto good = core::check_prepare(options); !good) return core::completed<TemplateInfo>(good.error());
  return start(&Backend::prepare_template, name, std::move(options), client);
}

Result<std::vector<TemplateInfo>> Template::list(std::optional<Client> client) {
  ORKESTR_TRY(const auto impl, core::client_of(client));
  return impl->backend().list_templates();
}

Result<TemplateInfo> Template::inspect(std::string_view name, std::optional<Client> client) {
  ORKESTR_TRY(const auto impl, core::client_of(client));
  return impl->backend().inspect_template(std::string(name));
}

Result<void> Template::remove(std::string_view name, std::optional<Client> client) {
  ORKESTR_TRY(const auto impl, core::client_of(client));
  return impl->backend().remove_template(std::string(name));
}

}  // namespace orkestr
