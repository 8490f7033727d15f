/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * nof1-vault(8): reads this site's frozen data and answers with masked sums only. No network.
 */
#include <node/vault.h>
#include <sys/daemon.h>
#include <sys/memory.h>

int main(int argc, char **argv)
{
    struct nof1_vault_config config = {.program = "nof1-vault"};
    const struct nof1_daemon_option options[] = {
        {"dir", "DIR", "the vault's folder: frozen data, ledger, secret", &config.folder, NULL,
         true},
        {"charter", "FILE", "the approved charter; default DIR/charter.json", &config.charter, NULL,
         false},
        {"site", "ID", "this site's name on the charter", &config.site, NULL, true},
        {"key", "FILE", "the vault's signing key (PEM, mode 0600)", &config.key, NULL, true},
        {"socket", "PATH", "where the edge connects", &config.socket, NULL, true},
        {"policy", "FILE", "this site's limits (YAML); may only refuse more than the charter",
         &config.policy, NULL, false},
        {"admin", "PATH", "where nof1-node connects; default DIR/admin.sock", &config.admin, NULL,
         false},
        {"edge-user", "USER", "the user nof1-edge runs as, when it is another", &config.edge_user,
         NULL, false},
        {"manual-approval", NULL, "every plan waits for nof1-node approve", NULL,
         &config.manual_approval, false},
        {"service", NULL, "do not start unless all memory can be locked", NULL, &config.service,
         false},
    };
    int code = nof1_options_read(
        argc, argv, 1, config.program,
        "nof1-vault --dir DIR --site ID --key FILE --socket PATH [options]",
        sizeof options / sizeof options[0], options);
    if (code >= 0) {
        return code;
    }
    nof1_log_start();
    nof1_json_memory();
    return nof1_vault_run(&config);
}
