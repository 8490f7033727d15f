/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-lab-site: the vault's process for the lab, which accepts lab charters. Packaged apart and
 * absent from a node's package, so that no switch of a deployed vault can weaken it.
 */
#include <node/vault.h>
#include <sys/daemon.h>
#include <sys/memory.h>

int main(int argc, char **argv)
{
    struct nof1_vault_config config = {.program = "nof1-lab-site", .lab = true};
    const struct nof1_daemon_option options[] = {
        {"dir", "DIR", "the site's folder", &config.folder, NULL, true},
        {"charter", "FILE", "the charter (canonical JSON)", &config.charter, NULL, true},
        {"site", "ID", "this site's name on the charter", &config.site, NULL, true},
        {"key", "FILE", "the site's signing key (PEM, mode 0600)", &config.key, NULL, true},
        {"socket", "PATH", "where the edge connects", &config.socket, NULL, true},
        {"policy", "FILE", "the site's limits (YAML)", &config.policy, NULL, false},
    };
    int code = nof1_options_read(
        argc, argv, 1, config.program,
        "nof1-lab-site --dir DIR --charter FILE --site ID --key FILE --socket PATH [options]",
        sizeof options / sizeof options[0], options);
    nof1_json_memory();
    return code >= 0 ? code : nof1_vault_run(&config);
}
