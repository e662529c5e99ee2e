# shellcheck shell=sh
# Puts the admin key into ORGANSEG_ADMIN_KEY, from a file where one is named; the entry points source it.
#
# ORGANSEG_ADMIN_KEY_FILE  a file (a container's secret) that holds the key; an empty one means no key
# ORGANSEG_ADMIN_KEY       the key itself, where no file is named
#
# Without a key the servers make one up that nobody knows: admin calls stay closed.

if [ -n "${ORGANSEG_ADMIN_KEY_FILE:-}" ]; then
    if [ ! -r "$ORGANSEG_ADMIN_KEY_FILE" ]; then
        echo "organseg: wanted the admin key in the file that ORGANSEG_ADMIN_KEY_FILE names, it" \
            "cannot be read: mount the secret, readable for user $(id -u), or unset the variable" >&2
        exit 1
    fi
    ORGANSEG_ADMIN_KEY=$(cat "$ORGANSEG_ADMIN_KEY_FILE")
fi
unset ORGANSEG_ADMIN_KEY_FILE
case ${ORGANSEG_ADMIN_KEY:-} in
'')
    unset ORGANSEG_ADMIN_KEY
    ;;
*[!A-Za-z0-9]*)
    echo "organseg: wanted letters and digits only in the admin key: change it" >&2
    exit 1
    ;;
*)
    export ORGANSEG_ADMIN_KEY
    ;;
esac
