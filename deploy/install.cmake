# SPDX-License-Identifier: GPL-3.0-or-later
# What `cmake --install` puts beside the programs. Manual pages: docs/man/CMakeLists.txt.
install(DIRECTORY include/nof1 DESTINATION include)
install(FILES deploy/systemd/nof1-vault.service deploy/systemd/nof1-edge.service
    deploy/systemd/nof1-coordinator.service DESTINATION lib/systemd/system)
install(DIRECTORY deploy/demo/sleep DESTINATION share/doc/nof1fed/examples)
install(DIRECTORY certs DESTINATION share/nof1fed USE_SOURCE_PERMISSIONS)
install(FILES README.md CHANGELOG.md SECURITY.md LICENSE docs/architecture.md docs/data.md docs/disclosure.md
    docs/forms.md docs/interfaces.md docs/operations.md docs/protocol.md docs/statistics.md docs/threat-model.md
    docs/validation.md DESTINATION share/doc/nof1fed)
foreach(program nof1 nof1-node nof1-coordinator nof1-audit)
    install(FILES deploy/completion/${program} DESTINATION share/bash-completion/completions)
endforeach()
