package azblob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/objectstore"
)

// storageScope is what tokens are for: Azure Storage, any account.
const storageScope = "https://storage.azure.com/.default"

// entra gets tokens of Microsoft Entra ID with the identity that is found here.
type entra struct {
	// find looks for it, once: what was found remembers which of its ways led
	// to a token.
	find func() (azcore.TokenCredential, error)
	// cli is who is logged in with "az login".
	cli func() (azcore.TokenCredential, error)
}

// newEntra returns the tokens of Microsoft's DefaultAzureCredential.
func newEntra() entra {
	return entra{
		find: sync.OnceValues(func() (azcore.TokenCredential, error) { return azidentity.NewDefaultAzureCredential(nil) }),
		cli:  sync.OnceValues(func() (azcore.TokenCredential, error) { return azidentity.NewAzureCLICredential(nil) }),
	}
}

// token gets a token. Where there is no identity that is [objectstore.Nobody].
func (e entra) token(ctx context.Context) (objectstore.Token, error) {
	identity, err := e.find()
	if err != nil {
		return objectstore.Token{}, errors.New(httpclient.OneLine(err.Error()))
	}
	token, err := ask(ctx, identity)
	var failed *azidentity.AuthenticationFailedError
	switch {
	case err == nil:
		return token, nil
	case ctx.Err() != nil:
		return objectstore.Token{}, errors.New(httpclient.OneLine(err.Error()))
	case !errors.As(err, &failed):
		// Each of its ways says that it can't be gone here.
		return objectstore.Nobody(), nil
	case !notAzure(failed.RawResponse):
		return objectstore.Token{}, failure(failed)
	}
	// The search ended at an answer that means nothing. What it would have
	// tried next is the command line's login.
	if identity, err = e.cli(); err == nil {
		if token, err = ask(ctx, identity); err == nil {
			return token, nil
		}
	}
	return objectstore.Nobody(), nil
}

// ask gets a token of one identity.
func ask(ctx context.Context, identity azcore.TokenCredential) (objectstore.Token, error) {
	token, err := identity.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{storageScope}})
	if err != nil {
		return objectstore.Token{}, err
	}
	return objectstore.Token{Value: token.Token, Expires: token.ExpiresOn}, nil
}

// metadataHost is the address of a machine's metadata service. Other clouds
// have theirs at the same one, and a proxy may answer for it.
const metadataHost = "169.254.169.254"

// notAzure reports whether resp, by which a token was refused, came from the
// metadata service's address: Azure's own says in other words that a machine
// has no identity.
func notAzure(resp *http.Response) bool {
	return resp != nil && resp.Request != nil && resp.Request.URL.Hostname() == metadataHost
}

// failure says why an identity got no token: for now, or for good.
func failure(failed *azidentity.AuthenticationFailedError) error {
	text := httpclient.OneLine(failed.Error())
	if failed.RawResponse == nil {
		return fmt.Errorf("%w: %s", transport.ErrTemporary, text)
	}
	if body, err := runtime.Payload(failed.RawResponse); err == nil {
		var answer struct { // RFC 6749 §5.2
			Description string `json:"error_description"`
		}
		if json.Unmarshal(body, &answer) == nil && answer.Description != "" {
			text = httpclient.OneLine(answer.Description)
		}
	}
	if failed.RawResponse.StatusCode >= 500 {
		return fmt.Errorf("%w: %s", transport.ErrTemporary, text)
	}
	return errors.New(text)
}
