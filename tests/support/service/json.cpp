// Boost.JSON without its library: everything of it in this one object.
#include <boost/json/src.hpp>
