# Writes HEADER with the commit of SOURCE_DIR, "-dirty" where files differ from it; left as it is when nothing changed.
# Where there is no git or no repository, QWEND_COMMIT of the environment names it.
execute_process(COMMAND git describe --always --dirty --abbrev=12 --exclude=* WORKING_DIRECTORY ${SOURCE_DIR}
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT commit)
  set(commit $ENV{QWEND_COMMIT})
endif()
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT [[// Filled in by each build.
#pragma once
namespace qwend {
inline constexpr char kCommit[] = "@commit@";
}
]] @ONLY)
