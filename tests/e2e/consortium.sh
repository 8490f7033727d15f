# shellcheck shell=sh
# SPDX-License-Identifier: GPL-3.0-or-later
# To be sourced: a consortium of five sites on one machine, from the data of `nof1 lab new`. Nothing
# is started. The caller has set $bin (the programs) and $root (the repository).
sites="site-01 site-02 site-03 site-04 site-05"

spki() { openssl pkey -in "$1" -pubout -outform DER | od -An -v -tx1 | tr -d ' \n'; }
new_key() { # path
    (umask 077; openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
        -pkeyopt ec_param_enc:named_curve -out "$1" 2> /dev/null)
}

# In FOLDER, which holds data/: ca/, hub/, charter.json, site-0N/ with approved charter and frozen
# data. ADDRESS is the coordinator's, for its certificate.
make_consortium() { # folder, address
    folder=$1
    study=$(sed -n 's/^study: *//p' "$folder/data/charter.yaml")
    "$root/certs/make-ca.sh" "$folder/ca" --study "$study" > /dev/null
    "$root/certs/issue.sh" "$folder/ca" coordinator hub --ip "$2" > /dev/null
    "$root/certs/issue.sh" "$folder/ca" statistician ada > /dev/null
    "$bin/nof1-coordinator" init --dir "$folder/hub" > "$folder/hub.spki" 2> /dev/null
    cp "$folder/data/charter.yaml" "$folder/charter.yaml"
    for id in $sites; do
        "$root/certs/issue.sh" "$folder/ca" site "$id" > /dev/null
        mkdir -m 700 "$folder/$id"
        new_key "$folder/$id/vault.key"
        sed -i "s|^  $id: {|&edge: \"spiffe://$study/site/$id\", vault_key: $(spki "$folder/$id/vault.key"), |" \
            "$folder/charter.yaml"
    done
    cat >> "$folder/charter.yaml" << YAML
statisticians:
  ada: {spiffe: "spiffe://$study/statistician/ada", key: $(spki "$folder/ca/statistician/ada.key")}
coordinator: {id: hub, spiffe: "spiffe://$study/coordinator/hub", key: $(cat "$folder/hub.spki")}
YAML
    hash=$("$bin/nof1-coordinator" charter sign --dir "$folder/hub" --charter "$folder/charter.yaml" \
        --out "$folder/charter.json")
    for id in $sites; do
        "$bin/nof1-node" charter approve "$folder/charter.json" --dir "$folder/$id" --hash "$hash" > "$folder/out" 2>&1 &&
            "$bin/nof1-node" freeze "$folder/data/sites/$id.csv" --dir "$folder/$id" \
                --map "$folder/data/map.yaml" --site "$id" > "$folder/out" 2>&1 || { cat "$folder/out"; return 1; }
    done
}
