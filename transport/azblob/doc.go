// Package azblob reads files from Azure Blob Storage: the scheme azblob, as in
//
//	azblob://ACCOUNT/CONTAINER/PREFIX[?endpoint=URL&anonymous=true]
//
// PREFIX holds an OCI layout or a bare tree of blobs (see package filetree).
// The URI names the account, since it is to mean the same place on every
// machine. The forms other tools use are taken where they say the same:
//
//	azblob://ACCOUNT.blob.core.windows.net/CONTAINER/PREFIX   the host in full
//	azblob://CONTAINER/PREFIX?storage_account=ACCOUNT         go-cloud's
//
// Blobs are read with plain HTTP, one Get Blob for each range, with the answer
// semantics of package httprange.
//
// # Credentials
//
// Those of the environment, in this order: AZURE_STORAGE_CONNECTION_STRING;
// AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN; what
// Microsoft's DefaultAzureCredential finds (service principal, workload or
// managed identity, "az login"). Where there are none, or with anonymous=true,
// containers are asked anonymously. A key and a SAS token are for the account
// they are of, and no other.
//
// Credentials are sent to Azure's own hosts of the account, over https, and to
// the endpoint that the environment names (in the connection string, or
// AZURE_STORAGE_SERVICE_ENDPOINT), never to one that only a URI names.
//
// A SAS token is never part of a URI: URIs are shown, kept in records and
// passed on.
package azblob
