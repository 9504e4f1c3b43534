/* The C header alone, as C99, pedantic: compiled with -Werror, and every INIT macro has as many values as its struct.
 */
#include <orkestr/orkestr.h>

int main(void) {
  orkestr_client_options client = ORKESTR_CLIENT_OPTIONS_INIT;
  orkestr_create_options create = ORKESTR_CREATE_OPTIONS_INIT;
  orkestr_resume_options resume = ORKESTR_RESUME_OPTIONS_INIT;
  orkestr_list_options list = ORKESTR_LIST_OPTIONS_INIT;
  orkestr_exec_options exec = ORKESTR_EXEC_OPTIONS_INIT;
  orkestr_code_options code = ORKESTR_CODE_OPTIONS_INIT;
  orkestr_template_options build = ORKESTR_TEMPLATE_OPTIONS_INIT;
  orkestr_pool_options pool = ORKESTR_POOL_OPTIONS_INIT;
  return client.size && create.size && resume.size && list.size && exec.size && code.size && build.size && pool.size
             ? 0
             : 1;
}
