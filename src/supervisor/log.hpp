// The supervisor's own log, for a person who looks for a fault: a file named by ORKESTR_LOG, else nothing. Never holds
// commands, environments or what a guest sent beyond an error's reason.
#pragma once

#include <string>

namespace orkestr::supervisor {

// The absolute path that ORKESTR_LOG names, empty for none; to be asked before the working directory changes.
std::string log_path();
// Empty: nothing is logged. A file that cannot be opened is no reason not to start.
void open_log(const std::string& path);
void set_log_name(const std::string& sandbox_id);
void log_info(const std::string& text);

}  // namespace orkestr::supervisor
