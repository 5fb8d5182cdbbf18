package azblob

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
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
}

// newEntra returns the tokens of Microsoft's DefaultAzureCredential.
func newEntra() entra {
	return entra{find: sync.OnceValues(func() (azcore.TokenCredential, error) {
		return azidentity.NewDefaultAzureCredential(nil)
	})}
}

// token gets a token. Where there is no identity that is [objectstore.Nobody].
func (e entra) token(ctx context.Context) (objectstore.Token, error) {
	identity, err := e.find()
	if err != nil {
		return objectstore.Token{}, errors.New(httpclient.OneLine(err.Error()))
	}
	token, err := identity.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{storageScope}})
	if err == nil {
		return objectstore.Token{Value: token.Token, Expires: token.ExpiresOn}, nil
	}
	text := httpclient.OneLine(err.Error())
	var failed *azidentity.AuthenticationFailedError
	switch {
	case ctx.Err() != nil:
		return objectstore.Token{}, errors.New(text)
	case !errors.As(err, &failed):
		// Each of its ways says that it can't be gone here.
		return objectstore.Nobody(), nil
	case failed.RawResponse == nil || failed.RawResponse.StatusCode >= 500:
		return objectstore.Token{}, fmt.Errorf("%w: %s", transport.ErrTemporary, text)
	}
	return objectstore.Token{}, errors.New(text)
}
